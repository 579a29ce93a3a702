"""The job's own outcomes as a log of rounds: one round is a slate, its action the ranking strategy that made it.

What taught the job's policies nothing is left out here too: slates that were not seen as far as was reported, and those that a user saw
in another revision. The context of a round is what the policy knew of the user: the features, which the estimated rewards and the
policies with linear values go by, and the number of the state, by which tables go.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Struct

from models.config import Policy as Settings
from models.config import Strategy
from models.ope.policies import Target
from models.ope.rounds import Rounds
from models.policies import make_policy
from models.policies.base import Step
from models.policies.state import Context


class LoggedContext(Struct, frozen=True):
    """What off-policy evaluation reads of the context of a slate."""

    state: int
    features: tuple[float, ...]


class LoggedChoice(Struct, frozen=True):
    """What it reads of the slate that followed."""

    state: int
    features: tuple[float, ...]
    action: str


class LoggedOutcome(Struct, frozen=True, kw_only=True):
    """What it reads of a record of `outcomes`; its fields are those of the topic's type."""

    slate_id: str
    user_id: str
    seq: int
    slate_time_ms: int
    activated: bool
    superseded: bool
    action: str
    action_probability: float
    context: LoggedContext
    reward: float
    next: LoggedChoice | None = None


@dataclass(frozen=True, slots=True, eq=False)
class OutcomeLog:
    """Outcomes as rounds.

    Attributes
    ----------
    rounds : in the order of slate time; users are the units
    actions : names of the strategies that occur, by their number
    outcomes : those that the rounds are of, in their order
    not_activated, superseded, repeated : how many were left out, and why: not seen; seen in another revision; a record of a slate
        that had one before
    """

    rounds: Rounds
    actions: tuple[str, ...]
    outcomes: Sequence[LoggedOutcome]
    not_activated: int
    superseded: int
    repeated: int

    @classmethod
    def of(cls, outcomes: Iterable[LoggedOutcome]) -> OutcomeLog:
        """The rounds of records in any order.

        Raises
        ------
        ValueError
            When none is left, or a value is out of range.
        """
        found = list(outcomes)
        by_slate = {outcome.slate_id: outcome for outcome in found}
        superseded = sum(one.superseded for one in by_slate.values())
        unseen = sum(not one.activated and not one.superseded for one in by_slate.values())
        kept = [one for one in by_slate.values() if one.activated and not one.superseded]
        if not kept:
            why = f"{unseen:,} not activated, {superseded:,} superseded"
            raise ValueError(f"none of {len(found):,} outcomes is of a slate that was seen: {why}")
        kept.sort(key=lambda one: (one.slate_time_ms, one.user_id, one.seq))
        lengths = {len(one.context.features) for one in kept}
        if len(lengths) > 1:
            raise ValueError(f"expected contexts of one length, got {', '.join(map(str, sorted(lengths)))}")
        actions = tuple(sorted({one.action for one in kept}))
        number = {action: place for place, action in enumerate(actions)}
        users: dict[str, int] = {}
        rounds = Rounds(
            context=np.array([one.context.features for one in kept], np.float64),
            action=np.array([number[one.action] for one in kept], np.int64),
            position=np.zeros(len(kept), np.int64),
            reward=np.array([one.reward for one in kept], np.float64),
            propensity=np.array([one.action_probability for one in kept], np.float64),
            unit=np.array([users.setdefault(one.user_id, len(users)) for one in kept], np.int64),
            n_actions=len(actions),
        )
        return cls(rounds, actions, kept, unseen, superseded, len(found) - len(by_slate))

    def constant(self, action: str) -> Target:
        """Always the same strategy.

        Raises
        ------
        ValueError
            When no slate of the log was made by it.
        """
        if action not in self.actions:
            raise ValueError(f"no slate was made by the strategy {action!r}, only by {', '.join(self.actions)}")
        return Target.of(self.rounds, np.eye(len(self.actions))[self.actions.index(action)])

    def learned(self, settings: Settings) -> tuple[Rounds, Target]:
        """A policy that learns the first half of the users, and then acts in the other half as it would without exploring.

        Parameters
        ----------
        settings : which policy, and its parameters; strategies and exploration aside

        Returns
        -------
        the rounds of the second half, and the policy in them
        """
        strategies = {name: Strategy() for name in self.actions}
        greedy = msgspec.structs.replace(settings, strategies=strategies, action_epsilon=0.0, action_epsilon_min=0.0)
        known = [outcome.context.state for outcome in self.outcomes]
        following = [outcome.next.state for outcome in self.outcomes if outcome.next is not None]
        policy = make_policy(greedy, states=max(known + following) + 1, features=self.rounds.context.shape[1])
        early = self.rounds.early_units()
        for row in np.flatnonzero(early).tolist():
            policy.learn(self._step(row))
        late = np.flatnonzero(~early)
        rounds = self.rounds.take(late)
        return rounds, Target.of(rounds, np.array([policy.probabilities(self._context(row)) for row in late.tolist()]))

    def _context(self, row: int) -> Context:
        return Context(self.outcomes[row].context.state, self.rounds.context[row])

    def _step(self, row: int) -> Step:
        outcome = self.outcomes[row]
        context, action = self._context(row), int(self.rounds.action[row])
        after = outcome.next
        if after is None or after.action not in self.actions:
            return Step(context, action, outcome.reward)
        following: npt.NDArray[np.float64] = np.array(after.features)
        return Step(context, action, outcome.reward, Context(after.state, following), self.actions.index(after.action))
