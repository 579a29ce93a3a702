"""SARSA: what came next is worth the action that was really taken there.

    target = reward + discount * Q(s', a')

Rummery and Niranjan, "On-line Q-learning using connectionist systems", 1994; Sutton and Barto, "Reinforcement Learning", 2018,
section 6.4. It learns the values of the policy that acts, its exploration included.
"""

from __future__ import annotations

from models.policies.base import Step
from models.policies.temporal_difference import TemporalDifference


class Sarsa(TemporalDifference):
    """Parameters: values, learning_rate, discount, action_epsilon and its decay."""

    name = "sarsa"

    def _value_of_next(self, step: Step) -> float:
        assert step.next_context is not None
        return float(self.values(step.next_context)[step.next_action])
