"""Regret of the bandits beside the same policies of MABWiser, on the same environments, step by step in one run.

    python -m benchmarks.bandits [--steps 1000] [--seeds 300] [--policy NAME]

Environments (version 1), each step an independent draw of all rewards, the same for both sides:

``bernoulli-1``   5 actions that pay 1 with probability 0.30, 0.40, 0.45, 0.50, 0.60
``linear-1``      4 actions that pay 1 with probability 0.5 + theta_a . x, x = (1, four uniform numbers of -1 .. 1)

Both sides begin with one reward of each action, since MABWiser's UCB1 never tries an action that it knows nothing of, and run without
a floor under their probabilities; the last column has ours with the default one. Regret is the sum of what the best action of each
step pays on average less what the chosen one does.
"""

from __future__ import annotations

import argparse
import warnings
from dataclasses import dataclass

import numpy as np
from mabwiser.mab import MAB, LearningPolicy

from models.config import Policy as Settings
from models.config import Strategy
from models.identity import hash64
from models.policies import make_policy
from models.policies.base import Step
from models.policies.state import Context

BERNOULLI = np.array([0.30, 0.40, 0.45, 0.50, 0.60])
FEATURES = 5
THETA = np.array([
    [0.00, 0.20, 0.05, 0.00, 0.00],
    [0.00, -0.20, 0.00, 0.05, 0.00],
    [0.05, 0.00, 0.15, -0.10, 0.05],
    [-0.05, 0.05, -0.15, 0.10, 0.10],
])  # fmt: skip


@dataclass(frozen=True, slots=True)
class Environment:
    """All that can happen in one run.

    Attributes
    ----------
    contexts : float64[steps, FEATURES]
    chances : float64[steps, actions], of a reward of 1
    rewards : float64[steps, actions], 0 or 1
    """

    contexts: np.ndarray
    chances: np.ndarray
    rewards: np.ndarray

    def regret(self, actions: list[int]) -> float:
        """Of the steps after the first reward of each action."""
        start = self.chances.shape[1]
        chances = self.chances[start:]
        return float((chances.max(1) - chances[np.arange(len(actions)), actions]).sum())


def environment(name: str, *, steps: int, seed: int) -> Environment:
    """One run of an environment."""
    draw = np.random.default_rng([seed, hash64(name) % 2**32])
    contexts = np.column_stack((np.ones(steps), draw.uniform(-1, 1, (steps, FEATURES - 1))))
    chances = np.tile(BERNOULLI, (steps, 1)) if name == "bernoulli-1" else 0.5 + contexts @ THETA.T
    return Environment(contexts, chances, (draw.random(chances.shape) < chances).astype(np.float64))


def of_ours(world: Environment, settings: dict, *, seed: int) -> float:
    """Regret of a policy of flinkrec."""
    strategies = {f"strategy-{number}": Strategy() for number in range(world.chances.shape[1])}
    policy = make_policy(Settings(**settings, strategies=strategies, seed=seed), states=1, features=FEATURES)
    chosen = []
    for step, (x, rewards) in enumerate(zip(world.contexts, world.rewards, strict=True)):
        context = Context(0, x)
        action = step
        if step >= len(policy.actions):
            action, _ = policy.choose(context, hash64(f"step-{step}"))
            chosen.append(action)
        policy.learn(Step(context, action, float(rewards[action])))
    return world.regret(chosen)


def of_mabwiser(world: Environment, learning: object, *, seed: int, contextual: bool) -> float:
    """Regret of the same policy of MABWiser."""
    actions = world.chances.shape[1]
    mab, chosen = MAB(list(range(actions)), learning, seed=seed), []
    first = np.arange(actions)
    known = (world.contexts[:actions],) if contextual else ()
    mab.fit(first, world.rewards[first, first], *known)
    for x, rewards in zip(world.contexts[actions:], world.rewards[actions:], strict=True):
        known = (x[None],) if contextual else ()
        action = mab.predict(*known)
        chosen.append(action)
        mab.partial_fit([action], [rewards[action]], *known)
    return world.regret(chosen)


NO_FLOOR = {"action_epsilon": 0.0}
CASES = {
    "epsilon_greedy": (
        "bernoulli-1",
        {"action_epsilon": 0.1, "action_epsilon_decay": 1.0},
        LearningPolicy.EpsilonGreedy(epsilon=0.1),
    ),
    "ucb1": ("bernoulli-1", NO_FLOOR | {"ucb_width": 0.5}, LearningPolicy.UCB1(alpha=0.5)),
    "thompson": ("bernoulli-1", NO_FLOOR, LearningPolicy.ThompsonSampling()),
    "softmax": ("bernoulli-1", NO_FLOOR | {"temperature": 0.2}, LearningPolicy.Softmax(tau=0.2)),
    "linucb": ("linear-1", NO_FLOOR | {"ucb_width": 0.5}, LearningPolicy.LinUCB(alpha=0.5, l2_lambda=1.0)),
}


def compare(name: str, *, steps: int, seeds: int) -> np.ndarray:
    """Regrets of one policy.

    Returns
    -------
    float64[seeds, 3], of flinkrec, of MABWiser, and of flinkrec with the default floor
    """
    world_name, settings, learning = CASES[name]
    ours = {"name": name} | settings
    floored = {key: value for key, value in ours.items() if not key.startswith("action_epsilon")}
    regrets = []
    for seed in range(seeds):
        world = environment(world_name, steps=steps, seed=seed)
        regrets.append((
            of_ours(world, ours, seed=seed),
            of_mabwiser(world, learning, seed=seed, contextual=name == "linucb"),
            of_ours(world, floored, seed=seed),
        ))  # fmt: skip
    return np.array(regrets)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1_000)
    parser.add_argument("--seeds", type=int, default=300)
    parser.add_argument("--policy", choices=CASES, nargs="*", default=list(CASES))
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    print(f"Mean regret of {asked.seeds} seeds after {asked.steps:,} steps, +- standard error; ratio = ours / MABWiser's\n")
    print("| policy | environment | flinkrec | MABWiser | ratio | flinkrec, default floor |\n|---|---|---|---|---|---|")
    for name in asked.policy:
        world = CASES[name][0]
        regrets = compare(name, steps=asked.steps, seeds=asked.seeds)
        mean, error = regrets.mean(0), regrets.std(0, ddof=1) / np.sqrt(len(regrets))
        ratio = mean[0] / mean[1]
        spread = np.std(regrets[:, 0] - ratio * regrets[:, 1], ddof=1) / np.sqrt(len(regrets)) / mean[1]
        cells = [f"{value:.1f} +- {of:.1f}" for value, of in zip(mean, error, strict=True)]
        print(f"| {name} | {world} | {cells[0]} | {cells[1]} | {ratio:.2f} +- {spread:.2f} | {cells[2]} |", flush=True)


if __name__ == "__main__":
    main()
