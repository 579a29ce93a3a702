"""Confidence intervals of an estimate that is a ratio of sums.

A few terms carry most of the weight: the mean is not yet normal, and its standard error, made of the same few terms, is itself
uncertain. Of the four intervals here `student` is the one to quote: benchmarks/ope_coverage.py compares how often they hold
the truth, and docs/ope.md has its figures.

- normal: 1.96 standard errors on either side;
- student: as many standard errors as Student's t asks for when the standard error is worth 2 n / (kurtosis - 1) degrees of freedom
  (Satterthwaite, "An approximate distribution of estimates of variance components", Biometrics Bulletin 2(6), 1946, with the
  variance of a sample variance, sigma**4 (kurtosis - 1) / n): the normal one for even weights, wider for heavy ones;
- percentile: quantiles of the estimates of resampled terms (Efron, "Bootstrap methods: another look at the jackknife",
  Annals of Statistics 7(1), 1979);
- studentised: as many standard errors as 95 % of the resampled estimates lie within, each measured in its own (Hall, "On symmetric
  bootstrap confidence intervals", JRSS B 50(1), 1988).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from models.evaluation.uncertainty import Z95
from models.ope.estimators import Terms

RESAMPLES = 1_000


class Interval(Struct, frozen=True):
    """Bounds of a 95 % interval; infinite (null in JSON) where the terms allow no bound on that side."""

    lower: float
    upper: float


class Intervals(Struct, frozen=True, kw_only=True):
    """An estimate and how far it may be off.

    Attributes
    ----------
    value : the estimate
    standard_error : by linearisation (the delta method), with n - 1
    student : the 95 % interval to quote
    normal, percentile, studentised : others, to compare
    """

    value: float
    standard_error: float
    student: Interval
    normal: Interval
    percentile: Interval
    studentised: Interval


def intervals_of(terms: Terms, rng: np.random.Generator, *, resamples: int = RESAMPLES) -> Intervals:
    """The estimate of terms with all its intervals.

    Parameters
    ----------
    terms : n independent terms; with fewer than two, or denominators that add up to 0, nothing is known: all bounds are infinite
    rng : draws the resamples
    resamples : how many
    """
    value, n = terms.value, len(terms.numerator)
    if n < 2 or not np.isfinite(value):
        nothing = Interval(-np.inf, np.inf)
        return Intervals(
            value=value, standard_error=np.inf, student=nothing, normal=nothing, percentile=nothing, studentised=nothing
        )
    sums = _Sums.of(terms, value)
    _, error = sums.distance_and_error(np.ones(n))
    distances, errors = _resampled(sums, n, rng, resamples)
    # A resample without spread says that its estimate is as far away as can be, unless it is the estimate itself.
    with np.errstate(divide="ignore", invalid="ignore"):
        studentised = np.where(distances == 0.0, 0.0, np.abs(distances) / errors)
    low, high = np.quantile(distances, (0.025, 0.975))

    def symmetric(errors_each_side: float) -> Interval:
        # Not inf * 0: terms without spread are known exactly.
        margin = errors_each_side * error if error > 0 else 0.0
        return Interval(value - margin, value + margin)

    return Intervals(
        value=value,
        standard_error=error,
        student=symmetric(student_quantile(sums.degrees_of_freedom)),
        normal=symmetric(Z95),
        percentile=Interval(value + float(low), value + float(high)),
        studentised=symmetric(float(np.quantile(studentised, 0.95, method="inverted_cdf"))),
    )


def student_quantile(degrees_of_freedom: float) -> float:
    """The 97.5 % quantile of Student's t, from that of the normal distribution.

    Abramowitz and Stegun, "Handbook of mathematical functions", 1964, 26.7.5: within 0.8 % from 2 degrees of freedom on, and
    within 0.05 % from 4 on.
    """
    z, f = Z95, degrees_of_freedom
    return (
        z
        + (z**3 + z) / (4 * f)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * f**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * f**3)
        + (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / (92_160 * f**4)
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Sums:
    """What the ratio of terms, each counted several times, and its error are made of; about the estimate, for precision.

    rows : float64[5, n], with the residual e = numerator - value * denominator and d = denominator: e, d, e e, e d, d d
    """

    rows: npt.NDArray[np.float64]

    @classmethod
    def of(cls, terms: Terms, value: float) -> _Sums:
        e, d = terms.numerator - value * terms.denominator, terms.denominator
        return cls(np.stack((e, d, e * e, e * d, d * d)))

    def distance_and_error(self, times: npt.NDArray[np.float64]) -> tuple[float, float]:
        """The ratio less the estimate, and its standard error; NaN without any denominator."""
        e, d, ee, ed, dd = (self.rows @ times).tolist()
        if d == 0:
            return math.nan, math.nan
        n = len(times)
        distance = e / d
        squares = max(ee - 2 * distance * ed + distance * distance * dd, 0.0)
        return distance, math.sqrt(squares * n / (n - 1)) / d


    @property
    def degrees_of_freedom(self) -> float:
        """What the standard error is worth; infinite where all residuals have the same size."""
        squares = self.rows[2]
        kurtosis = len(squares) * float(squares @ squares) / float(squares.sum()) ** 2 if squares.any() else 1.0
        return 2 * len(squares) / (kurtosis - 1) if kurtosis > 1 else np.inf


def _resampled(
    sums: _Sums, n: int, rng: np.random.Generator, resamples: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Distances to the estimate and standard errors of n terms drawn with replacement; draws without weight are left out."""
    found = np.empty((resamples, 2))
    for row in range(resamples):
        drawn = np.bincount(rng.integers(0, n, n), minlength=n)
        found[row] = sums.distance_and_error(drawn.astype(np.float64))
    found = found[~np.isnan(found[:, 0])]
    return found[:, 0], found[:, 1]
