"""The YAML file that a search leaves: what the base configuration says, and what was found, with comments."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

import conf
from models.config import Configuration
from models.evaluation.space import Value

_SECTION = re.compile(r"^(\w+):")
_KEY = re.compile(r"^  (\w+):.*?  # (.*)$")


def tuned_file(
    base: Mapping[str, Any], changes: Mapping[str, tuple[Value, Value]], story: Sequence[str], *, adopted: bool
) -> str:
    """The text of the file.

    Parameters
    ----------
    base : what the base configuration's own file says; it is kept
    changes : value of the base and of the best, by dotted key
    story : sentences for its head
    adopted : whether the changes are to be used; otherwise they stand in the head only, as comments
    """
    head = [f"# {line}" for line in story]
    if changes and not adopted:
        head += [f"#   {key}: {_text(new)}  ({_text(old)} before)" for key, (old, new) in changes.items()]
    body = []
    for section in Configuration.__struct_fields__:
        found = {key: change for key, change in changes.items() if adopted and key.startswith(f"{section}.")}
        kept = {
            name: value for name, value in (base.get(section) or {}).items() if f"{section}.{name}" not in found
        }
        if kept or found:
            body.append(f"{section}:")
            body += [f"  {name}: {_text(value)}" for name, value in kept.items()]
            body += [_changed_line(key, *change) for key, change in found.items()]
    return "\n".join([*head, *(body or ["{}"]), ""])


def _changed_line(key: str, old: Value, new: Value) -> str:
    name = key.split(".")[1]
    return f"  {name}: {_text(new)}  # {_text(old)} before; {_meanings()[key]}"


def _meanings() -> dict[str, str]:
    """What each key means, as conf/default.yaml says."""
    section, found = "", {}
    for line in (Path(conf.__file__).parent / "default.yaml").read_text(encoding="utf-8").splitlines():
        if match := _SECTION.match(line):
            section = match[1]
        elif match := _KEY.match(line):
            found[f"{section}.{match[1]}"] = match[2]
    return found


def _text(value: Any) -> str:
    """A value as YAML, on one line."""
    plain = list(value) if isinstance(value, tuple) else value
    return yaml.safe_dump([plain], default_flow_style=True, width=math.inf).strip()[1:-1]
