"""Q-learning: what came next is worth its best action, whatever action was really taken there.

    target = reward + discount * max_b Q(s', b)

Watkins and Dayan, "Q-learning", Machine Learning 8, 1992; Sutton and Barto, "Reinforcement Learning", 2018, section 6.5.
It learns the values of the greedy policy while another, the exploring one, acts.
"""

from __future__ import annotations

from models.policies.base import Step
from models.policies.temporal_difference import TemporalDifference


class QLearning(TemporalDifference):
    """Parameters: values, learning_rate, discount, action_epsilon and its decay."""

    name = "q_learning"

    def _value_of_next(self, step: Step) -> float:
        assert step.next_context is not None
        return float(self.values(step.next_context).max())
