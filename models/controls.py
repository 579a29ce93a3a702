"""Controls: settings that operators of a shop change while the job runs.

A record of `controls` is keyed by the name of the rule; its value is JSON, null takes the rule back. Accepted rules are
published once more to `model-updates`, as ``control:NAME``: a replica that starts finds the last good one there, whatever
came onto the compacted key of `controls` afterwards.

``sources``    weights of the candidate sources, such as ``{"item_cf": 0.7, "trending": 0.3}``; those that it does not
               name are off
"""

from __future__ import annotations

import msgspec

from models.config import Sources
from models.events import Refusal, Rejected
from models.topics import SourceWeights

SOURCES = "sources"


def control_key(name: str) -> str:
    """Key of an accepted rule in `model-updates`."""
    return f"control:{name}"


def decode_control(name: str | None, value: bytes) -> Sources:
    """The rule in a record.

    Raises
    ------
    Rejected
        When no rule has this name, or the value is not what it takes.
    """
    if name != SOURCES:
        raise Rejected(Refusal.UNKNOWN_TYPE, f"there is no control {name!r}: expected {SOURCES!r} as the key")
    try:
        given = msgspec.json.decode(value, type=SourceWeights)
        return Sources(**msgspec.structs.asdict(given))
    except msgspec.ValidationError as error:
        raise Rejected(Refusal.WRONG_TYPE, str(error)) from None
    except (msgspec.MsgspecError, ValueError, OverflowError) as error:
        raise Rejected(Refusal.NOT_JSON, str(error)) from None
