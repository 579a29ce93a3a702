"""The learner of a policy: takes steps, and publishes the tables that replicas choose by."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import torch

from models.config import Policy as Settings
from models.policies import make_policy
from models.policies.base import Step
from models.policies.steps import decode_step
from models.versions import decode_tensors, encode_tensors, encode_version


class _Meta(msgspec.Struct):
    """Counters of a policy learner, part of its snapshot."""

    epoch: int
    number: int = 0


def policy_key(name: str) -> str:
    """Key of a policy's published tables in `model-updates`."""
    return f"policy:{name}"


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
        self.policy = make_policy(settings)
        self._places = {action: place for place, action in enumerate(self.policy.action_hashes)}
        self._epoch = epoch
        self._meta = _Meta(epoch=epoch)
        self._changed = False

    def learn_one(self, message: bytes) -> None:
        """Take one step (`models.policies.steps`); one whose action is not configured any more teaches nothing."""
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
        return [(policy_key(self.policy.name), encode_version(self._meta.epoch, self._meta.number, self._tensors()))]

    def take_snapshot(self) -> list[tuple[str, bytes]]:
        """The whole state: it is small."""
        return [("meta", msgspec.json.encode(self._meta)), ("tables", encode_tensors(self._tensors()))]

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
        self._meta = msgspec.json.decode(saved["meta"], type=_Meta)
        self._meta.epoch = max(self._meta.epoch + 1, self._epoch)
        self.policy.load({name: tensor.numpy() for name, tensor in decode_tensors(saved["tables"]).items()})

    def _tensors(self) -> dict[str, torch.Tensor]:
        return {name: torch.from_numpy(table) for name, table in self.policy.tables().items()}
