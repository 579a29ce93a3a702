"""All estimators of the value of a policy from one log, with their intervals, and whether to believe them."""

from __future__ import annotations

import numpy as np
from msgspec import Struct

from models.ope.estimators import Terms, dr, ips, snips, switch_dr
from models.ope.intervals import RESAMPLES, Intervals, intervals_of
from models.ope.overlap import Overlap, overlap_of
from models.ope.policies import Target
from models.ope.reward_model import cross_fitted
from models.ope.rounds import Rounds


class Estimate(Struct, frozen=True, kw_only=True):
    """What one estimator says: its name (IPS, SNIPS, DR, switch-DR) and its figures."""

    name: str
    figures: Intervals


class Evaluation(Struct, frozen=True, kw_only=True):
    """The value of a policy, by every estimator that the log allows.

    Attributes
    ----------
    rounds, units, actions, positions : of the log, as far as it was evaluated on
    logged : mean reward of the log, the value of the policy that made it
    estimates : DR and switch-DR are missing where the policy's probabilities of other actions than the logged are not known
    tau : the weight beyond which switch-DR trusts the estimated rewards alone
    switched_share : of the sum of weights, what lies beyond tau
    overlap : how the weights are spread
    verdict : empty, or why not to believe the estimates, in one sentence
    """

    rounds: int
    units: int
    actions: int
    positions: int
    logged: Intervals
    estimates: list[Estimate]
    tau: float
    switched_share: float
    overlap: Overlap
    verdict: str


def evaluate(
    rounds: Rounds, target: Target, rng: np.random.Generator, *, tau: float, resamples: int = RESAMPLES
) -> Evaluation:
    """Estimate the value of a policy.

    Parameters
    ----------
    rounds : of a log, none of which the policy was fitted on
    target : the policy in these rounds
    rng : draws folds and resamples
    tau : of switch-DR, at least 0
    resamples : of the bootstrap

    Raises
    ------
    ValueError
        When there is one unit of rounds only, and DR is asked for.
    """
    weight = target.taken / rounds.propensity
    terms = {"IPS": ips(weight, rounds.reward), "SNIPS": snips(weight, rounds.reward)}
    if target.distribution is not None:
        estimated = cross_fitted(rounds, rng)
        taken = estimated[np.arange(len(rounds)), rounds.action]
        mean = (estimated * target.distribution).sum(axis=1)
        terms["DR"] = dr(weight, rounds.reward, taken=taken, target=mean)
        terms["switch-DR"] = switch_dr(weight, rounds.reward, taken=taken, target=mean, tau=tau)
    overlap = overlap_of(weight, rounds.reward)
    return Evaluation(
        rounds=len(rounds),
        units=len(np.unique(rounds.unit)),
        actions=rounds.n_actions,
        positions=rounds.n_positions,
        logged=mean_reward(rounds, rng, resamples=resamples),
        estimates=[
            Estimate(name=name, figures=intervals_of(one.by_unit(rounds.unit), rng, resamples=resamples))
            for name, one in terms.items()
        ],
        tau=tau,
        switched_share=float(weight[weight > tau].sum() / weight.sum()) if weight.any() else 0.0,
        overlap=overlap,
        verdict=_verdict(overlap),
    )


def mean_reward(rounds: Rounds, rng: np.random.Generator, *, resamples: int = RESAMPLES) -> Intervals:
    """The value of the policy that made a log: its mean reward."""
    return intervals_of(Terms(rounds.reward, np.ones(len(rounds))).by_unit(rounds.unit), rng, resamples=resamples)


def _verdict(overlap: Overlap) -> str:
    doubts = overlap.doubts
    return f"The overlap is too small to believe this: {'; '.join(doubts)}." if doubts else ""
