"""How often the 95 % intervals of off-policy evaluation hold the true value, on a small bandit whose truth is known.

    OMP_NUM_THREADS=1 python -m benchmarks.ope_coverage [--runs 2000] [--rounds 1000] [--setting simulator]

Every run draws an environment: 50 contexts, each alike likely, of 4 normal numbers; 8 actions; 2 positions; rewards of 0 or 1
with log-odds that are bilinear in context and action, which the linear reward model cannot hit. The logging policy is a
softmax of noisy scores, the evaluated one a softmax of others; both, and the truth, are exact. Three settings differ in how far
the two policies are apart.

The fourth is the simulator (docs/simulator.md), world `moods` with 100 users and 200 items: a recommender whose three strategies are
drawn alike goes through it once, and for each slate that somebody saw is noted what the policies know of the user, and how likely the
slate of each strategy would have been clicked, where each strategy is made by a recommender that learns from the same events. A run draws
sessions out of these, a strategy for each of their slates by the logging policy, and clicks. The logging policy is epsilon-greedy by user
state and explores three slates of ten; the evaluated one is Q-learning, greedy; both have learned from that one walk, and neither learns
from the runs. The truth is the mean over all sessions: that of a Monte-Carlo run without end.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from itertools import islice

import msgspec
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from models.config import Policy
from models.events import Event
from models.ope.evaluation import Evaluation, evaluate
from models.ope.policies import Target
from models.ope.rounds import Rounds
from models.policies import make_policy
from models.policies.base import Step
from models.policies.state import Context, context_of
from models.simulation.behaviour import click_probability
from models.simulation.competitors import Flinkrec, always
from models.simulation.loop import AtOnce, Slate, closed_loop
from models.simulation.world import NATURES, World, attraction, item_index
from models.topics import CatalogueItem
from models.validation import parse_configuration

CONTEXTS, FEATURES, ACTIONS, POSITIONS = 50, 4, 8, 2
# How sharp the two policies are: the sharper, the fewer rounds of the log say anything about the evaluated one.
SHARPNESS = {"near": 0.5, "apart": 0.8, "far apart": 1.2}
SEED = 20_240
INTERVALS = ("student", "normal", "percentile", "studentised")


@dataclass(frozen=True, slots=True)
class Run:
    """One log of one environment, and what is true of it."""

    rounds: Rounds
    target: Target
    truth: float


def run_of(seed: int, *, sharpness: float, n: int) -> Run:
    """Draw an environment and a log of n rounds from it."""
    rng = np.random.default_rng(seed)
    contexts = rng.normal(size=(CONTEXTS, FEATURES))
    log_odds = -1.5 + contexts @ rng.normal(scale=0.5, size=(FEATURES, ACTIONS)) + rng.normal(scale=0.5, size=ACTIONS)
    reward_probability = 1 / (1 + np.exp(-(log_odds[:, :, None] - np.array([0.0, 0.7]))))
    logging = _softmax(sharpness * rng.normal(size=(CONTEXTS, ACTIONS)))
    target = _softmax(sharpness * (log_odds + rng.normal(size=(CONTEXTS, ACTIONS))))

    context = rng.integers(0, CONTEXTS, n)
    position = rng.integers(0, POSITIONS, n)
    action = (rng.random(n)[:, None] > np.cumsum(logging[context], axis=1)[:, :-1]).sum(axis=1)
    rounds = Rounds(
        context=contexts[context],
        action=action,
        position=position,
        reward=(rng.random(n) < reward_probability[context, action, position]).astype(np.float64),
        propensity=logging[context, action],
        unit=np.arange(n),
        n_actions=ACTIONS,
    )
    truth = float((target * reward_probability.mean(axis=2)).sum(axis=1).mean())
    return Run(rounds, Target.of(rounds, target[context]), truth)


@dataclass(frozen=True, slots=True, eq=False)
class Walk:
    """One walk through the simulator.

    Attributes
    ----------
    contexts : float64[slates, features], what the policies know
    clicks : float64[slates, strategies], probability that the slate of each strategy is clicked
    logging, evaluated : float64[slates, strategies], what the two policies do
    sessions : int64[sessions + 1], where in these each session begins, and the end of the last
    """

    contexts: np.ndarray
    clicks: np.ndarray
    logging: np.ndarray
    evaluated: np.ndarray
    sessions: np.ndarray


_SIMULATED = {
    "scorer": {"name": "none"},
    "policy": {
        "action_epsilon": 1.0,
        "action_epsilon_min": 1.0,
        "strategies": {
            "similar": {"sources": {"item_cf": 0.5, "user_cf": 0.2, "content": 0.3, "trending": 0, "new_items": 0}},
            "content": {"sources": {"item_cf": 0, "user_cf": 0, "content": 1, "trending": 0, "new_items": 0}},
            "trending": {"sources": {"item_cf": 0, "user_cf": 0, "content": 0, "trending": 1, "new_items": 0}},
        },
    },
}
SLATES_WALKED, K = 3_000, 10


class _Watched:
    """A recommender that makes what is seen, and beside it one for each strategy, which learns from the same events."""

    def __init__(self, world: World) -> None:
        configuration = parse_configuration(_SIMULATED, "ope_coverage")
        self._world = world
        self._shows = Flinkrec(configuration)
        self._twins = [Flinkrec(always(configuration, name)) for name in configuration.policy.strategies]
        self.actions = list(configuration.policy.strategies)
        self.latest: dict[str, tuple[str, Context, str, list[float]]] = {}

    def announce(self, item_id: str, item: CatalogueItem) -> None:
        for one in (self._shows, *self._twins):
            one.announce(item_id, item)

    def report(self, event: Event) -> None:
        raise NotImplementedError("nothing is reported here")

    def answer(self, event: Event) -> Slate:
        person = self._world.people[int(event.user_id[1:])]
        utilities = self._world.utilities(person, event.event_time_ms)
        pipeline = self._shows.pipeline
        pipeline.learn(event)
        context = context_of(pipeline.user(event.user_id).state)
        shown = pipeline.recommend(event)
        slates = [twin.answer(event).items for twin in self._twins]
        clicks = [click_probability(attraction(utilities[[item_index(item) for item in items]])) for items in slates]
        self.latest[event.user_id] = (event.session_id or "", context, shown.action, clicks)
        return Slate(shown.slate_id, [item.item_id for item in shown.items])


@cache
def walk() -> Walk:
    """The walk, and what the two policies make of it."""
    world = World(NATURES["moods"], seed=SEED, users=100, items=200)
    watched = _Watched(world)
    by_session: dict[str, list[tuple[Context, str, list[float], bool]]] = defaultdict(list)
    for seen in islice(closed_loop(world, AtOnce(watched), k=K), SLATES_WALKED):
        session, context, action, clicks = watched.latest[seen.user_id]
        by_session[session].append((context, action, clicks, seen.clicked))
    slates = [slate for session in by_session.values() for slate in session]
    logging = _learned(by_session, watched.actions, name="epsilon_greedy", by_state=True, action_epsilon=0.3)
    evaluated = _learned(by_session, watched.actions, name="q_learning", values="linear", learning_rate=0.02, action_epsilon=0.0)
    return Walk(
        contexts=np.array([context.features for context, *_ in slates]),
        clicks=np.array([clicks for _, _, clicks, _ in slates]),
        logging=logging,
        evaluated=evaluated,
        sessions=np.cumsum([0, *map(len, by_session.values())]),
    )


def _learned(
    by_session: dict[str, list[tuple[Context, str, list[float], bool]]], actions: list[str], *, action_epsilon: float, **settings: object
) -> np.ndarray:
    """float64[slates, strategies], probabilities of a policy that has learned from all slates."""
    configured = msgspec.convert(settings | {"strategies": {name: {} for name in actions}}, Policy)
    exploring = {"action_epsilon": action_epsilon, "action_epsilon_min": action_epsilon, "action_epsilon_decay": 1.0}
    policy = make_policy(msgspec.structs.replace(configured, **exploring))
    for session in by_session.values():
        for place, (context, action, _, clicked) in enumerate(session):
            following = session[place + 1] if place + 1 < len(session) else None
            after = (None, None) if following is None else (following[0], actions.index(following[1]))
            policy.learn(Step(context, actions.index(action), float(clicked), *after))
    return np.array([policy.probabilities(context) for session in by_session.values() for context, *_ in session])


def simulated(seed: int, *, n: int) -> Run:
    """Sessions of the simulator, at least n slates in all."""
    rng, pool = np.random.default_rng(seed), walk()
    lengths = np.diff(pool.sessions)
    drawn = rng.integers(0, len(lengths), n)
    drawn = drawn[: int(np.searchsorted(np.cumsum(lengths[drawn]), n)) + 1]
    rows = np.concatenate([np.arange(pool.sessions[session], pool.sessions[session + 1]) for session in drawn])
    action = (rng.random(len(rows))[:, None] > np.cumsum(pool.logging[rows], axis=1)[:, :-1]).sum(axis=1)
    rounds = Rounds(
        context=pool.contexts[rows],
        action=action,
        position=np.zeros(len(rows), np.int64),
        reward=(rng.random(len(rows)) < pool.clicks[rows, action]).astype(np.float64),
        propensity=pool.logging[rows, action],
        unit=np.repeat(np.arange(len(drawn)), lengths[drawn]),
        n_actions=pool.clicks.shape[1],
    )
    truth = float((pool.evaluated * pool.clicks).sum(axis=1).mean())
    return Run(rounds, Target.of(rounds, pool.evaluated[rows]), truth)


SETTINGS: dict[str, Callable[..., Run]] = {
    name: partial(run_of, sharpness=sharpness) for name, sharpness in SHARPNESS.items()
} | {"simulator": simulated}


def evaluations(make: Callable[..., Run], runs: int, *, n: int, resamples: int) -> Iterator[tuple[Run, Evaluation]]:
    """Runs of seeds that follow on one another, evaluated."""
    for seed in range(SEED, SEED + runs):
        run = make(seed, n=n)
        rng = np.random.default_rng(seed)
        yield run, evaluate(run.rounds, run.target, rng, tau=10.0, resamples=resamples)


def main() -> None:
    """Print coverage and mean width of every interval of every estimator in every setting."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--runs", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=1_000)
    parser.add_argument("--resamples", type=int, default=1_000)
    parser.add_argument("--setting", choices=SETTINGS, help="this one alone")
    asked = parser.parse_args()
    console = Console(highlight=False, width=140)
    for setting in SETTINGS if asked.setting is None else (asked.setting,):
        _print(setting, asked, console)


def _print(setting: str, asked: argparse.Namespace, console: Console) -> None:
    held: defaultdict[tuple[str, str], list[bool]] = defaultdict(list)
    width: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    error: defaultdict[str, list[float]] = defaultdict(list)
    believed, effective, largest = [], [], []
    runs = evaluations(SETTINGS[setting], asked.runs, n=asked.rounds, resamples=asked.resamples)
    for run, evaluation in track(runs, setting, total=asked.runs, console=console, disable=not console.is_terminal):
        believed.append(not evaluation.verdict)
        effective.append(evaluation.overlap.effective_rounds)
        largest.append(evaluation.overlap.largest_weight)
        for estimate in evaluation.estimates:
            error[estimate.name].append(estimate.figures.value - run.truth)
            for kind in INTERVALS:
                interval = getattr(estimate.figures, kind)
                held[estimate.name, kind].append(interval.lower <= run.truth <= interval.upper)
                width[estimate.name, kind].append(interval.upper - interval.lower)
    believable = np.array(believed)
    table = Table(title=f"{setting}: {asked.runs:,} runs of {asked.rounds:,} rounds, medians of effective rounds "
        f"{np.median(effective):.0f} and of the largest weight {np.median(largest):.0f}; believed {believable.mean():.1%}",
        title_justify="left")
    for heading in ("estimator", "bias", "root mean square error", "interval", "holds the truth", "of those believed",
        "of the others", "mean width"):
        table.add_column(heading)
    for (name, kind), holds in held.items():
        found, wide, missed = np.array(holds), np.array(width[name, kind]), np.array(error[name])
        finite = wide[np.isfinite(wide)]
        table.add_row(
            name,
            f"{missed.mean():+.4f}",
            f"{np.sqrt((missed**2).mean()):.4f}",
            kind,
            f"{found.mean():.1%}",
            f"{found[believable].mean():.1%}" if believable.any() else "",
            f"{found[~believable].mean():.1%}" if not believable.all() else "",
            f"{finite.mean():.4f}" + (f" ({len(wide) - len(finite)} unbounded)" if len(finite) < len(wide) else ""),
        )
    console.print(table)


def _softmax(scores: np.ndarray) -> np.ndarray:
    odds = np.exp(scores - scores.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


if __name__ == "__main__":
    main()
