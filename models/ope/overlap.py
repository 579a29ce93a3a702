"""Whether a log knows enough of a policy to judge it: how the importance weights are spread.

The effective sample size is that of Kish, "Survey sampling", 1965: (sum w)**2 / sum w**2, the number of rounds with equal
weights that would give as precise a mean.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from msgspec import Struct

FEWEST_EFFECTIVE_ROUNDS = 100
FEWEST_EFFECTIVE_REWARDS = 10
LARGEST_SHARE = 0.05
MOST_ERRORS = 4.0
"""How many standard errors the mean of the weights may be off 1, its expectation."""
_ROUNDING = 1e-6


class Overlap(Struct, frozen=True, kw_only=True):
    """How the weights of n rounds are spread.

    Attributes
    ----------
    effective_rounds : effective sample size of the weights
    effective_rewards : how many of them are rewarded, at the rate of the whole log: effective_rounds * (sum |r|)**2 / (n sum r**2),
        which is effective_rounds * mean reward where rewards are 0 or 1
    largest_weight : of a round
    largest_share : of the sum of weights, that of the largest
    top_share : of the sum of weights, that of the 1 % of rounds (at least one) with the largest
    mean_weight : 1 up to noise, where propensities are right and the log can take all that the policy takes
    mean_weight_error : its standard error
    """

    effective_rounds: float
    effective_rewards: float
    largest_weight: float
    largest_share: float
    top_share: float
    mean_weight: float
    mean_weight_error: float

    @property
    def doubts(self) -> list[str]:
        """Why the overlap is too small to believe an estimate, one reason a rule; empty where it is not."""
        found = []
        if self.effective_rounds < FEWEST_EFFECTIVE_ROUNDS:
            found.append(f"the weights are worth {self.effective_rounds:.1f} rounds, fewer than {FEWEST_EFFECTIVE_ROUNDS}")
        if self.effective_rewards < FEWEST_EFFECTIVE_REWARDS:
            found.append(
                f"about {self.effective_rewards:.1f} rewarded rounds are behind it, fewer than {FEWEST_EFFECTIVE_REWARDS}"
            )
        if self.largest_share > LARGEST_SHARE:
            found.append(f"one round has {self.largest_share:.0%} of the weight, more than {LARGEST_SHARE:.0%}")
        if abs(self.mean_weight - 1) > MOST_ERRORS * self.mean_weight_error + _ROUNDING:
            found.append(
                f"the weights average {self.mean_weight:.2f} instead of 1, as when propensities are wrong or the log never takes "
                "what the policy takes"
            )
        return found


def overlap_of(weight: npt.NDArray[np.float64], reward: npt.NDArray[np.float64]) -> Overlap:
    """Describe the weights.

    Parameters
    ----------
    weight : float64[n], at least 0
    reward : float64[n]
    """
    n = len(weight)
    total = float(weight.sum())
    largest = np.sort(weight)[::-1]
    effective_rounds = _effective(weight)
    return Overlap(
        effective_rounds=effective_rounds,
        effective_rewards=effective_rounds * _effective(np.abs(reward)) / n,
        largest_weight=float(largest[0]),
        largest_share=float(largest[0]) / total if total else 0.0,
        top_share=float(largest[: -(-n // 100)].sum()) / total if total else 0.0,
        mean_weight=total / n,
        mean_weight_error=float(np.std(weight, ddof=1) / np.sqrt(n)) if n > 1 else 0.0,
    )


def _effective(values: npt.NDArray[np.float64]) -> float:
    squares = float((values * values).sum())
    return float(values.sum()) ** 2 / squares if squares else 0.0
