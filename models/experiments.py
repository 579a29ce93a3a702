"""Experiments: which arm a user is in, what its settings are, and whether the arms have the users that they should have.

A user's arm is a function of the user's id, the salt and the weights, by weighted rendezvous hashing:

    arm = argmin_a -log(1 - u_a) / weight_a        u_a = uniform number of (user, salt, name of the arm)

Thaler and Ravishankar, "Using name-based mappings to increase hit rates", IEEE/ACM Transactions on Networking 6, 1998; weighted as
in Schindelhauer and Schomaker, "Weighted distributed hash tables", SPAA 2005. -log(1 - u) / w is exponential with rate w, so the
smallest is an arm's with probability w / sum. Nothing is stored: a restart changes nothing. When weights change, a user moves only to
an arm whose weight rose against that of the user's own; an arm that is added takes its share from each of the others.

The sample-ratio mismatch test is Pearson's chi-square of the users in the arms against the weights (Fabijan et al., "Diagnosing
sample ratio mismatch in online controlled experiments", KDD 2019).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import erfc, exp, gamma, log1p, sqrt
from typing import Any, TypeVar

import msgspec

from models.config import Experiment, Policy, Scorer, Section, Sources
from models.identity import hash64, uniform
from models.topics import DEFAULT_ARM

MISMATCH_P = 0.001
MISMATCH_USERS = 200

_Section = TypeVar("_Section", bound=Section)


class InvalidArm(ValueError):
    """An arm whose settings do not validate.

    Parameters
    ----------
    key : dotted path within the experiment
    expected, got : what would have been accepted, and what was found
    """

    def __init__(self, key: str, *, expected: str, got: str) -> None:
        super().__init__(f"{key}: expected {expected}, got {got}")
        self.key, self.expected, self.got = key, expected, got


class Split:
    """Assigns users to arms.

    Parameters
    ----------
    salt : names the split; splits of two salts are independent
    weights : of the arms by name; at least one is above 0

    Attributes
    ----------
    shares : expected share of the users, by name
    """

    def __init__(self, salt: str, weights: Mapping[str, float]) -> None:
        total = sum(weights.values())
        self.shares = {name: weight / total for name, weight in weights.items()}
        self._seed = hash64(salt)
        self._arms = [(name, hash64(name), weight) for name, weight in weights.items() if weight > 0]

    def arm_of(self, user: int) -> str:
        """Name of the arm of a user.

        Parameters
        ----------
        user : hash of the user's id
        """
        seed = self._seed
        return min((-log1p(-uniform(user, seed, draw)) / weight, name) for name, draw, weight in self._arms)[1]


@dataclass(frozen=True, slots=True)
class TreatmentSettings:
    """What the users of one arm are given.

    Attributes
    ----------
    policy : section policy with what the arm changes
    sources, scorer : sections sources and scorer with what the arm changes, None where it changes nothing
    """

    policy: Policy
    sources: Sources | None
    scorer: Scorer | None


def treatment_settings(policy: Policy, sources: Sources, scorer: Scorer, experiment: Experiment) -> dict[str, TreatmentSettings]:
    """The settings of each arm.

    Parameters
    ----------
    policy, sources, scorer : sections that the arms change
    experiment : its arms

    Raises
    ------
    InvalidArm
        When what an arm says does not make a valid section, no arm has a weight, or one is named as nobody's.
    """
    if experiment.arms and not any(arm.weight > 0 for arm in experiment.arms.values()):
        raise InvalidArm("arms", expected="at least one weight above 0", got=repr({n: a.weight for n, a in experiment.arms.items()}))
    if DEFAULT_ARM in experiment.arms:
        raise InvalidArm("arms", expected=f"another name than {DEFAULT_ARM!r}, who is in no arm", got=repr(DEFAULT_ARM))
    return {
        name: TreatmentSettings(
            _changed(policy, arm.policy, f"arms.{name}.policy"),
            _changed(sources, arm.sources, f"arms.{name}.sources") if arm.sources else None,
            _changed(scorer, arm.scorer, f"arms.{name}.scorer") if arm.scorer else None,
        )
        for name, arm in experiment.arms.items()
    }


def _changed(section: _Section, changes: dict[str, Any], key: str) -> _Section:
    try:
        return msgspec.convert(msgspec.to_builtins(section) | changes, type(section))
    except msgspec.ValidationError as error:
        raise InvalidArm(key, expected=str(error), got=repr(changes)) from None


def srm_p_value(users: Sequence[int], shares: Sequence[float]) -> float:
    """Probability that the users fall into the arms at least as unevenly if the split is what it should be.

    Parameters
    ----------
    users : distinct users in each arm
    shares : the share that each should have; arms of share 0 are left out

    Returns
    -------
    float
        1 where there is nobody, or only one arm.
    """
    total = sum(users)
    parts = [(count, share) for count, share in zip(users, shares, strict=True) if share > 0]
    if total == 0 or len(parts) < 2:
        return 1.0
    statistic = sum(count * count / share for count, share in parts) / total - total
    return chi_square_tail(max(0.0, statistic), len(parts) - 1)


def chi_square_tail(statistic: float, freedom: int) -> float:
    """Probability that a chi-square variable of `freedom` degrees is larger, in closed form."""
    half = statistic / 2
    odd = freedom % 2
    start = erfc(sqrt(half)) if odd else 0.0
    terms = (half ** (j - odd / 2) / gamma(j + 1 - odd / 2) for j in range(odd, (freedom + odd) // 2))
    return start + exp(-half) * sum(terms)



def mismatch(users: Mapping[str, int], shares: Mapping[str, float]) -> str | None:
    """What is wrong with a split, in one sentence; None where nothing is, or too few users say so.

    Parameters
    ----------
    users : distinct users in each arm, by name
    shares : the share that each arm should have
    """
    total = sum(users.get(arm, 0) for arm in shares)
    p = srm_p_value([users.get(arm, 0) for arm in shares], list(shares.values()))
    if total < MISMATCH_USERS or p >= MISMATCH_P:
        return None
    said = ", ".join(f"{arm} has {users.get(arm, 0) / total:.1%} of them and should have {share:.1%}" for arm, share in shares.items())
    return f"the arms do not have the users that they should have: of {total:,}, {said} (p = {p:.1g}); do not believe their figures"
