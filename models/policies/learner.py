"""The learner of a policy: takes steps, and publishes the tables that replicas choose by.

A message is a step (`models.policies.steps`), or a definition: ``0 u8 | JSON of PolicyDefinition``. The configured policy's learner
gets steps only. Any other, such as that of an experiment's arm, gets its definition before the first step of each life of each
recommender, and again when its settings changed; a definition that says nothing new changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

import msgspec

from models.config import Policy as Settings
from models.identity import hash64
from models.policies import make_policy
from models.policies.base import Step
from models.policies.steps import decode_step
from models.versions import decode_tables, encode_tables, version_record


class _Meta(msgspec.Struct):
    """Counters of a policy learner, part of its snapshot."""

    epoch: int
    number: int = 0


POLICY_PREFIX = "policy:"
_DEFINITION = b"\0"


class PolicyDefinition(msgspec.Struct, frozen=True):
    """What a learner that is not the configured policy's learns.

    Attributes
    ----------
    key : of its tables in `model-updates`
    settings : section policy as it is there
    """

    key: str
    settings: Settings


def policy_key(name: str, *, arm: str | None = None) -> str:
    """Key of a policy's published tables in `model-updates`; `arm` for the one of an experiment's arm."""
    return f"{POLICY_PREFIX}{name}" + ("" if arm is None else f"@{arm}")


def learner_of(key: str) -> int:
    """Number by which the messages for a learner are keyed, of all but the configured policy's."""
    return hash64(key)


def action_key(action: str, key: str | None) -> int:
    """By which number choices and steps know an action of the learner whose tables have this key, None for the configured policy's."""
    return hash64(action) if key is None else hash64(f"{key}\x1f{action}")


def encode_definition(definition: PolicyDefinition) -> bytes:
    """The message that defines a learner."""
    return _DEFINITION + msgspec.json.encode(definition)


class PolicyLearner:
    """Learns one policy from steps. Counts and sums are exact under recovery, as they are of integers.

    Parameters
    ----------
    settings : section policy of the configuration
    epoch : of its versions, see `models.learner.Learner`

    Attributes
    ----------
    policy : what was learned so far
    """

    def __init__(self, settings: Settings, *, epoch: int = 0) -> None:
        self._definition: PolicyDefinition | None = None
        self._learns(settings)
        self._epoch = epoch
        self._meta = _Meta(epoch=epoch)
        self._changed = False

    def _learns(self, settings: Settings) -> None:
        key = None if self._definition is None else self._definition.key
        self.policy = make_policy(settings)
        self._places = {action_key(action, key): place for place, action in enumerate(self.policy.actions)}

    def _define(self, definition: PolicyDefinition) -> None:
        if definition == self._definition:
            return
        before = None if self._definition is None else self.policy.tables()
        self._definition = definition
        self._learns(definition.settings)
        if before is not None:
            with suppress(ValueError):  # tables of another shape: what they say does not carry over
                self.policy.load(before)
            self._changed = True

    def learn_one(self, message: bytes) -> None:
        """Take one step or definition; a step whose action is not configured any more teaches nothing."""
        if message[:1] == _DEFINITION:
            self._define(msgspec.json.decode(message[1:], type=PolicyDefinition))
            return
        choice, following = decode_step(message)
        action = self._places.get(choice.action)
        if action is None:
            return
        after = None if following is None else self._places.get(following.action)
        step = Step(
            context=choice.context,
            action=action,
            reward=choice.reward,
            next_context=following.context if following is not None and after is not None else None,
            next_action=after,
        )
        self.policy.learn(step)
        self._changed = True

    def has_updates(self) -> bool:
        """Whether a step was learned since the last version."""
        return self._changed

    def take_updates(self) -> list[tuple[str, bytes]]:
        """The next version of the tables, as a ``(key, bytes)`` record; none when nothing was learned since."""
        if not self._changed:
            return []
        self._changed = False
        self._meta.number += 1
        key = policy_key(self.policy.name) if self._definition is None else self._definition.key
        return [(key, version_record(self._meta.epoch, self._meta.number, encode_tables(self.policy.tables())))]

    def take_snapshot(self) -> list[tuple[str, bytes]]:
        """The whole state: it is small."""
        rows = [("meta", msgspec.json.encode(self._meta)), ("tables", encode_tables(self.policy.tables()))]
        return rows if self._definition is None else [*rows, ("definition", msgspec.json.encode(self._definition))]

    def load_snapshot(self, rows: Iterable[tuple[str, bytes]]) -> None:
        """Carry on from an earlier snapshot, in a new epoch.

        Raises
        ------
        ValueError
            When the snapshot is of another policy.
        """
        saved = dict(rows)
        if not saved:
            return
        if "definition" in saved:
            self._define(msgspec.json.decode(saved["definition"], type=PolicyDefinition))
        self._meta = msgspec.json.decode(saved["meta"], type=_Meta)
        self._meta.epoch = max(self._meta.epoch + 1, self._epoch)
        self.policy.load(decode_tables(saved["tables"]))
