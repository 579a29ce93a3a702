"""`flinkrec models`: the versions of the network, how they were judged, and which of them recent slates name."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.console import Console

from cli.errors import UserError
from cli.submit import BOOTSTRAP, CONFIG

if TYPE_CHECKING:
    from models.config import Configuration, Kafka
    from models.decisions import Decision, GateRecord, Measures

_RANKER = "ranker"


class Serving(msgspec.Struct, frozen=True, kw_only=True):
    """Which versions the recent slates name.

    Attributes
    ----------
    slates : looked at
    by_version : how many name each version of the network, those that have none under an empty name
    by_policy : the same of the policy's tables
    """

    slates: int
    by_version: dict[str, int]
    by_policy: dict[str, int]


class Models(msgspec.Struct, frozen=True, kw_only=True):
    """What `flinkrec models --json` prints.

    Attributes
    ----------
    mode : learner.mode of the configuration
    newest : version that was published last, None where there is none
    pinnable : versions that `model-updates` keeps, the oldest first
    pinned : version that a control names, None where none does
    gate : what the learner says of its decisions, None before the first
    arms : the same of the networks of an experiment's arms, by ``SALT.ARM``
    serving : which versions the recent slates name
    """

    mode: str
    newest: str | None
    pinnable: list[str]
    pinned: str | None
    gate: GateRecord | None
    arms: dict[str, GateRecord]
    serving: Serving


class _Slate(msgspec.Struct):
    versions: dict[str, str] = {}


def models(
    *,
    json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    slates: Annotated[int, typer.Option(min=1, help="How many recent slates of each partition are looked at.")] = 500,
    config: Annotated[Path | None, CONFIG] = None,
    topic_prefix: Annotated[str | None, typer.Option(help="Topics to look at, instead of the configuration's.")] = None,
    bootstrap_servers: Annotated[str | None, BOOTSTRAP] = None,
) -> None:
    """List the versions of the network, their figures, what the gate decided, and which of them serve; and the networks of arms.

    Without --config it looks at the topics of the job that was submitted last.
    """
    from cli.configuration import running_configuration

    configuration = running_configuration(config, bootstrap_servers=bootstrap_servers, topic_prefix=topic_prefix)
    found = read_models(configuration, slates=slates)
    if json:
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")
    elif found.gate is None and found.newest is None and not found.serving.slates:
        raise UserError("no version of a network and no slate in these topics: has the job answered events?")
    else:
        _print(found)


def read_models(configuration: Configuration, *, slates: int) -> Models:
    """Gather what the topics say of the network.

    Parameters
    ----------
    slates : how many recent ones of each partition are looked at

    Raises
    ------
    UserError
        When the broker does not answer or has no such topics.
    """
    from models.decisions import GateRecord, gate_key
    from models.versions import decode_version, version_key, weights_key

    records = _newest_records(configuration.kafka)
    prefix = version_key(_RANKER, "")
    newest, gate = records.get(weights_key(_RANKER)), records.get(gate_key(_RANKER))
    return Models(
        mode=configuration.learner.mode,
        newest=None if newest is None else str(decode_version(newest)[0]),
        pinnable=sorted((key.removeprefix(prefix) for key in records if key.startswith(prefix)), key=_order),
        pinned=_pinned(records),
        gate=None if gate is None else msgspec.json.decode(gate, type=GateRecord),
        arms=_arms(records),
        serving=_serving(configuration.kafka, slates),
    )


def _arms(records: dict[str, bytes]) -> dict[str, GateRecord]:
    from models.decisions import GateRecord, gate_key

    prefix = gate_key(f"{_RANKER}/")
    # behind the arm stands what tells two scorers of it apart
    return {
        key.removeprefix(prefix).rpartition(".")[0]: msgspec.json.decode(records[key], type=GateRecord)
        for key in sorted(records)
        if key.startswith(prefix)
    }


def _newest_records(kafka: Kafka) -> dict[str, bytes]:
    """What `model-updates` holds of networks, gates and controls."""
    from cli.clients import read_topic
    from models.topics import MODEL_UPDATES

    found: dict[str, bytes] = {}
    for key, value in read_topic(kafka, MODEL_UPDATES):
        note_record(found, key, value)
    return found


def note_record(found: dict[str, bytes], key: bytes, value: bytes | None) -> None:
    """Let a record of `model-updates` take the place of the one before of its key, if it is of a network, a gate or a control."""
    from models.topics import kept_value

    if not key.startswith((b"weights:", b"gate:", b"control:")):
        return
    kept = kept_value(value)
    if kept is None:
        found.pop(key.decode(), None)
    else:
        found[key.decode()] = kept


def _serving(kafka: Kafka, slates: int) -> Serving:
    from cli.clients import read_topic
    from models.topics import RECOMMENDATIONS

    decode = msgspec.json.Decoder(_Slate).decode
    versions: Counter[str] = Counter()
    policies: Counter[str] = Counter()
    for _, value in read_topic(kafka, RECOMMENDATIONS, last=slates):
        if value is not None:
            named = decode(value).versions
            versions[named.get(_RANKER, "")] += 1
            policies[named.get("policy", "")] += 1
    return Serving(slates=versions.total(), by_version=dict(versions.most_common()), by_policy=dict(policies.most_common()))


def _pinned(records: dict[str, bytes]) -> str | None:
    """The version that a control pins: a text, or an object with one under its name."""
    value = records.get("control:pinned_version")
    if value is None:
        return None
    rule = msgspec.json.decode(value)
    return str(rule.get("version", rule.get("pinned_version", rule))) if isinstance(rule, dict) else str(rule)


def _order(version: str) -> tuple[int, int]:
    epoch, _, number = version.partition(".")
    return int(epoch), int(number)


def _print(found: Models) -> None:
    from rich.table import Table

    console = Console(highlight=False)
    newest = found.newest or "none yet"
    console.print(f"Mode {found.mode}; newest version {newest}; pinned {found.pinned or 'none'}.", soft_wrap=True)
    served = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), title=f"{found.serving.slates:,} recent slates", title_justify="left")
    for heading in ("version", "slates", "share"):
        served.add_column(heading, justify="left" if heading == "version" else "right")
    for version, count in found.serving.by_version.items():
        served.add_row(version or "no network", f"{count:,}", f"{count / found.serving.slates:.1%}")
    console.print(served)
    for arm, gate in found.arms.items():
        last = gate.serving or "nothing"
        console.print(f"Arm {arm}: scorer {gate.scorer}, {gate.examples:,} examples; published last {last}.", soft_wrap=True)
    if found.gate is None:
        console.print("The gate has decided nothing yet.")
        return
    gate = found.gate
    console.print(
        f"Scorer {gate.scorer}, {gate.examples:,} examples; published last {gate.serving or 'nothing'}, measured by "
        f"{gate.good or 'the untrained network'}. To pin: {', '.join(found.pinnable) or 'none'}.",
        soft_wrap=True,
    )
    decisions = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), title="decisions, the latest last", title_justify="left")
    for heading in ("examples", "decision", "version", "order\nloss", "prob.\nloss", "hit\nrate"):
        decisions.add_column(heading, justify="left" if heading in {"decision", "version"} else "right", no_wrap=True)
    decisions.add_column("reason")
    for decision in gate.decisions:
        decisions.add_row(*_row(decision))
    console.print(decisions)
    console.print("Losses and hit rate: candidate / serving, means over the window.", soft_wrap=True)


def _row(decision: Decision) -> list[str]:
    of = "" if decision.rollback_of is None else f" for {decision.rollback_of}"

    def both(name: str, digits: int) -> str:
        return " / ".join(_shown(one, name, digits) for one in (decision.candidate, decision.serving))

    return [
        f"{decision.examples:,}",
        decision.verdict.replace("_", " "),
        decision.version + of,
        both("rank_loss", 3),
        both("probability_loss", 3),
        both("hit_rate", 3),
        decision.reason if decision.verdict != "published" else "",
    ]


def _shown(measures: Measures, name: str, digits: int) -> str:
    value = getattr(measures, name)
    return "-" if value is None else f"{value:.{digits}f}"
