"""Choices and steps as bytes: what the policy learns of a slate that has closed (`models.attribution`).

Layout of a choice, version 1 (little endian): ``version u8 | features u8 | state u16 | action i64 | reward f64 | features
f64[features]``; the action is the hash of its name. A step is a choice and, unless the session ended with it, the choice that
followed.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from models.layouts import require_version
from models.policies.state import Context

VERSION = 1
_HEAD = struct.Struct("<BBHqd")


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """An action that was taken, and what came of its slate.

    Parameters
    ----------
    context : in which it was taken
    action : hash of its name
    reward : of the slate
    """

    context: Context
    action: int
    reward: float = 0.0

    def encode(self) -> bytes:
        """The packed bytes (layout: module docstring)."""
        features = self.context.features
        return _HEAD.pack(VERSION, len(features), self.context.state, self.action, self.reward) + features.tobytes()


def decode_choice(raw: bytes) -> Choice:
    """The choice at the beginning of `raw`.

    Raises
    ------
    ValueError
        When the bytes are of another version.
    """
    require_version(raw, VERSION, what="choice")
    _, n, state, action, reward = _HEAD.unpack_from(raw)
    return Choice(Context(state, np.frombuffer(raw, "<f8", n, _HEAD.size)), action, reward)


def encode_step(choice: Choice, following: Choice | None) -> bytes:
    """What one closed slate teaches."""
    return choice.encode() + (b"" if following is None else following.encode())


def decode_step(raw: bytes) -> tuple[Choice, Choice | None]:
    """A choice and the one that followed in the session.

    Raises
    ------
    ValueError
        When the bytes are of another version.
    """
    choice = decode_choice(raw)
    end = _HEAD.size + choice.context.features.nbytes
    return choice, decode_choice(raw[end:]) if len(raw) > end else None
