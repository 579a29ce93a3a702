"""Policies: which ranking strategy makes a slate, and what its slots explore. One file each, `base.Policy` is what they share."""

from __future__ import annotations

from models.config import Policy as Settings
from models.policies.base import Policy
from models.policies.epsilon_greedy import EpsilonGreedy
from models.policies.linucb import LinUCB
from models.policies.q_learning import QLearning
from models.policies.sarsa import Sarsa
from models.policies.softmax import Softmax
from models.policies.state import FEATURES, STATES
from models.policies.thompson import Thompson
from models.policies.ucb1 import UCB1

_CLASSES: dict[str, type[Policy]] = {
    policy.name: policy for policy in (EpsilonGreedy, UCB1, Thompson, LinUCB, Softmax, QLearning, Sarsa)
}


def make_policy(settings: Settings, *, states: int = STATES, features: int = FEATURES) -> Policy:
    """The configured policy over the configured strategies, before it has learned.

    Parameters
    ----------
    settings : section policy of the configuration
    states, features : of the contexts, if they are not those of `models.policies.state`
    """
    return _CLASSES[settings.name](settings, states=states, features=features)
