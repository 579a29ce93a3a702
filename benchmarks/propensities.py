"""Whether logged propensities are true: over many slates of each policy, what was shown is as frequent as they say.

    python -m benchmarks.propensities [--slates 1000000]

Each policy learns 2,000 steps, then makes slates for users in 8 contexts: it draws an action, and explores the 4 slots of that
action's list with that action's epsilon; one of them once more with a pin and category caps in force. Counted are the actions in each
context, and, for each action, the items at each position. The chi-square statistics of all are added up, one test a policy, with
Bonferroni's correction over the policies.
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict

import numpy as np
from scipy import stats

from models.config import Policy as Settings
from models.config import Strategy
from models.identity import hash64, uniform
from models.policies import make_policy
from models.policies.base import Policy, Step
from models.policies.slots import explore_slots, slot_epsilon
from models.policies.state import FEATURES, Context
from models.rules import lay_out

VARIANTS = {
    "epsilon_greedy": {"name": "epsilon_greedy", "action_epsilon_decay": 1.0},
    "epsilon_greedy, decaying": {"name": "epsilon_greedy", "action_epsilon": 0.9},
    "epsilon_greedy, contextual": {"name": "epsilon_greedy", "by_state": True},
    "epsilon_greedy, with rules": {"name": "epsilon_greedy"},
    "ucb1": {"name": "ucb1"},
    "ucb1, contextual": {"name": "ucb1", "by_state": True},
    "thompson, beta": {"name": "thompson"},
    "thompson, gaussian": {"name": "thompson", "posterior": "gaussian", "by_state": True},
    "linucb": {"name": "linucb"},
    "softmax": {"name": "softmax"},
    "q_learning, tabular": {"name": "q_learning"},
    "q_learning, linear": {"name": "q_learning", "values": "linear"},
    "sarsa, tabular": {"name": "sarsa"},
    "sarsa, linear": {"name": "sarsa", "values": "linear"},
}
STRATEGIES = {"exploit": Strategy(epsilon=0.1), "fresh": Strategy(epsilon=0.4), "diverse": Strategy(), "trending": Strategy()}
# The list and the pool of each action; the pool of the last one is smaller than its list.
LISTS = [np.arange(10 * action, 10 * action + 4, dtype=np.int32) for action in range(4)]
POOLS = [np.arange(100, 100 + size, dtype=np.int32) for size in (6, 5, 4, 3)]
RULES = "with rules"


def laid_out(variant: str, action: int) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """List, pool and pinned positions of an action: with rules the last item of the pool is pinned to the second place, of category 0
    there are at most 2 items, of category 1 at most 3, and every third item is of one of them or of neither."""
    ranked = np.concatenate((LISTS[action], POOLS[action])).astype(np.int64)
    if not variant.endswith(RULES):
        return LISTS[action], POOLS[action], None
    rows = np.arange(len(ranked))
    offsets, members, caps = np.array([0, 1, 2, 2]), np.array([0, 1]), np.array([2, 3])
    pins = np.array([-1, len(ranked) - 1])
    listed, pool, pinned = lay_out(rows, (rows % 3).astype(np.int32), offsets, members, caps, pins, 4)
    return ranked[listed], ranked[pool], pinned


def some_context(number: int) -> Context:
    """A context of its own for each number, in one of seven states."""
    draw = np.random.default_rng(number)
    return Context(int(draw.integers(7)) * 10, np.concatenate(([1.0], draw.uniform(-1, 1, FEATURES - 1))))


def learned(variant: str, *, steps: int = 2_000) -> Policy:
    """A policy of a variant that has learned."""
    policy = make_policy(Settings(strategies=STRATEGIES, **VARIANTS[variant]))
    contexts = [some_context(number) for number in range(50)]
    for number in range(steps):
        context, action = contexts[number % 50], int(4 * uniform(number, 1, 0))
        reward = float(uniform(number, 1, 1) < 0.4 + 0.05 * action * context.features[1])
        policy.learn(Step(context, action, reward, contexts[(number + 1) % 50], int(4 * uniform(number + 1, 1, 0))))
    return policy


def p_value(variant: str, *, slates: int) -> float:
    """Of one policy: how likely frequencies are to differ so much if the propensities are true.

    Raises
    ------
    AssertionError
        When the same choice was logged with two propensities.
    """
    policy, settings = learned(variant), Settings(strategies=STRATEGIES)
    contexts = [some_context(number) for number in range(8)]
    layouts = [laid_out(variant, action) for action in range(len(STRATEGIES))]
    epsilons = [slot_epsilon(settings, strategy, slates=0) for strategy in STRATEGIES.values()]
    # of each draw ("context", context) or (action, position): how often each outcome came, and its propensity
    counts: defaultdict[tuple, Counter[int]] = defaultdict(Counter)
    propensities: defaultdict[tuple, dict[int, float]] = defaultdict(dict)
    for number in range(slates):
        place, key = number % len(contexts), hash64(f"{variant}-{number}")
        action, probability = policy.choose(contexts[place], key)
        listed, pool, pinned = layouts[action]
        slots = explore_slots(listed, pool, epsilon=epsilons[action], key=key, seed=settings.seed, pinned=pinned)
        shown = [(("context", place), action, probability)]
        shown += [((action, position), slot.item, slot.propensity) for position, slot in enumerate(slots)]
        for draw, outcome, propensity in shown:
            counts[draw][outcome] += 1
            assert propensities[draw].setdefault(outcome, propensity) == propensity
    statistic, freedom = 0.0, 0
    for draw, counted in counts.items():
        observed = np.array(list(counted.values()), float)
        expected = np.array([propensities[draw][outcome] for outcome in counted]) * observed.sum()
        observed, expected = _pooled(observed, expected)
        statistic += float((np.square(observed - expected) / expected).sum())
        freedom += len(observed) - 1
    return float(stats.chi2.sf(statistic, freedom))


def _pooled(observed: np.ndarray, expected: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Outcomes that never came, and all that are expected less than 5 times, count as one."""
    often = expected >= 5
    missing = observed.sum() - expected[often].sum()
    if missing < 1e-6 * observed.sum():
        return observed[often], expected[often]
    return np.append(observed[often], observed[~often].sum()), np.append(expected[often], missing)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slates", type=int, default=1_000_000)
    asked = parser.parse_args()
    least = 0.01 / len(VARIANTS)
    print(f"{asked.slates:,} slates of each policy; a propensity is refuted below p = 0.01 / {len(VARIANTS)} = {least:.2g}\n")
    print("| policy | p |\n|---|---|")
    refuted = []
    for variant in VARIANTS:
        found = p_value(variant, slates=asked.slates)
        refuted += [variant] * (found <= least)
        print(f"| {variant} | {found:.3f} |", flush=True)
    if refuted:
        raise SystemExit("refuted: " + ", ".join(refuted))


if __name__ == "__main__":
    main()
