"""`--ablation`: the file once more for each part of the recommender, with that part exchanged or left out.

`switches` is the one place that says which configuration leaves a part out; names come from where the parts are defined.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import msgspec

from cli.evaluation.run import Run
from models.config import BUILT_IN_SCORERS, Configuration, ConfigurationError, Sources
from models.evaluation.ablation import Ablation, ablation_of
from models.feature_table import GROUPS
from models.validation import parse_configuration


class Switch(NamedTuple):
    """A configuration that leaves one part out.

    Attributes
    ----------
    part : kind of the part, such as ``without features``
    name : which one
    changes : values by section and key
    """

    part: str
    name: str
    changes: dict[str, dict[str, Any]]


def switches(configuration: Configuration) -> list[Switch]:
    """Everything that can be left out of a configuration or exchanged in it, and changes it; not what the rest of it needs."""
    scorers = [name for name in BUILT_IN_SCORERS if name != "text" or configuration.text.makes_vectors]
    table = [
        *(Switch("scorer", name, {"scorer": {"name": name}}) for name in scorers),
        *(Switch("without source", name, {"sources": {name: 0.0}}) for name in Sources.__struct_fields__),
        *(Switch("without features", group, {"scorer": {"ignored_groups": [group]}}) for group in GROUPS),
    ]
    if configuration.scorer.name == "none":
        table = [switch for switch in table if switch.part != "without features"]
    if not configuration.slate.recommend_seen:
        table = [switch for switch in table if switch.name != "repeats"]
    return [switch for switch in table if _changes(configuration, switch)]


def _changes(configuration: Configuration, switch: Switch) -> bool:
    try:
        return switched(configuration, switch) != configuration
    except ConfigurationError:
        return False


def switched(configuration: Configuration, switch: Switch) -> Configuration:
    """A configuration with a switch thrown."""
    mapping = msgspec.to_builtins(configuration)
    for section, values in switch.changes.items():
        mapping[section] |= values
    return parse_configuration(mapping, f"ablation {switch.name!r}")


def ablate(
    whole: Run, configuration: Configuration, run: Callable[[Configuration, str], Run]
) -> Iterator[Ablation]:
    """Run every switch, and compare it with the whole.

    Parameters
    ----------
    whole : the run of the configuration, with its recording
    run : runs a configuration under a title, and records it
    """
    assert whole.recording is not None
    found = switches(configuration)
    for number, switch in enumerate(found, start=1):
        changed = run(switched(configuration, switch), f"ablation {number} of {len(found)}: {switch.part} {switch.name}")
        assert changed.recording is not None
        yield ablation_of(switch.part, switch.name, whole=whole.recording, changed=changed.recording)
