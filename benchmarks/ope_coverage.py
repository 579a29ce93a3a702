"""How often the 95 % intervals of off-policy evaluation hold the true value, on a small bandit whose truth is known.

    OMP_NUM_THREADS=1 python -m benchmarks.ope_coverage [--runs 2000] [--rounds 1000]

Every run draws an environment: 50 contexts, each alike likely, of 4 normal numbers; 8 actions; 2 positions; rewards of 0 or 1
with log-odds that are bilinear in context and action, which the linear reward model cannot hit. The logging policy is a
softmax of noisy scores, the evaluated one a softmax of others; both, and the truth, are exact. The settings differ in how far
the two policies are apart.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from models.ope.evaluation import Evaluation, evaluate
from models.ope.policies import Target
from models.ope.rounds import Rounds

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


def evaluations(runs: int, *, sharpness: float, n: int, resamples: int) -> Iterator[tuple[Run, Evaluation]]:
    """Runs of seeds that follow on one another, evaluated."""
    for seed in range(SEED, SEED + runs):
        run = run_of(seed, sharpness=sharpness, n=n)
        rng = np.random.default_rng(seed)
        yield run, evaluate(run.rounds, run.target, rng, tau=10.0, resamples=resamples)


def main() -> None:
    """Print coverage and mean width of every interval of every estimator in every setting."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--runs", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=1_000)
    parser.add_argument("--resamples", type=int, default=1_000)
    asked = parser.parse_args()
    console = Console(highlight=False, width=140)
    for setting, sharpness in SHARPNESS.items():
        _print(setting, asked, sharpness, console)


def _print(setting: str, asked: argparse.Namespace, sharpness: float, console: Console) -> None:
    held: defaultdict[tuple[str, str], list[bool]] = defaultdict(list)
    width: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    error: defaultdict[str, list[float]] = defaultdict(list)
    believed, effective, largest = [], [], []
    runs = evaluations(asked.runs, sharpness=sharpness, n=asked.rounds, resamples=asked.resamples)
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
