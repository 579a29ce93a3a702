"""How far a mean of judged events may be off: standard errors, intervals, paired differences.

Events of one user are not independent: somebody with a common taste is easy to serve all along. The clustered error
(Liang and Zeger, "Longitudinal data analysis using generalized linear models", Biometrika 73(1), 1986; with the small-sample
factor G / (G - 1) of Cameron and Miller, "A practitioner's guide to cluster-robust inference", J. Human Resources 50(2), 2015) takes
the user as the unit that was drawn. It answers "and with other users?", the plain one "and with other events of these?".
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from msgspec import Struct

Z95 = 1.959963984540054
"""The 97.5 % quantile of the normal distribution."""


class Mean(Struct, frozen=True, kw_only=True):
    """A mean over events with its errors.

    Attributes
    ----------
    n : events
    value : the mean, 0 where n is 0
    standard_error : with events taken as independent; 0 below two events
    user_error : clustered by user; 0 below two users
    """

    n: int
    value: float
    standard_error: float
    user_error: float


def mean_of(values: npt.NDArray[np.floating], users: npt.NDArray[np.integer]) -> Mean:
    """Mean and errors of one value an event.

    Parameters
    ----------
    values : float[n]
    users : int[n], whose event it was
    """
    values = values.astype(np.float64)
    return Mean(
        n=len(values),
        value=float(values.mean()) if len(values) else 0.0,
        standard_error=standard_error(values),
        user_error=clustered_error(values, users),
    )


def standard_error(values: npt.NDArray[np.floating]) -> float:
    """Standard error of a mean of independent values: s / sqrt(n), s with n - 1; 0 below two values."""
    n = len(values)
    return float(np.std(values, ddof=1) / np.sqrt(n)) if n > 1 else 0.0


def clustered_error(values: npt.NDArray[np.floating], clusters: npt.NDArray[np.integer]) -> float:
    """Standard error of a mean whose values are independent between clusters only; 0 below two clusters.

        sqrt(G / (G - 1) * sum_g (sum_{i in g} (x_i - mean))**2) / n
    """
    if not len(values):
        return 0.0
    _, cluster = np.unique(clusters, return_inverse=True)
    groups = int(cluster.max()) + 1
    if groups < 2:
        return 0.0
    sums = np.bincount(cluster, weights=values - values.mean())
    return float(np.sqrt(groups / (groups - 1) * (sums * sums).sum()) / len(values))


def wilson_interval(
    hits: npt.NDArray[np.floating], n: npt.NDArray[np.floating], z: float = Z95
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Score interval of a share (Wilson, "Probable inference", JASA 22, 1927); (0, 1) where n is 0.

    It stays within 0 and 1, and is right for few hits, where mean +- z * error is not.
    """
    hits, n = np.asarray(hits, np.float64), np.asarray(n, np.float64)
    safe = np.where(n > 0, n, 1.0)
    share = hits / safe
    middle = (share + z * z / (2 * safe)) / (1 + z * z / safe)
    half = z / (1 + z * z / safe) * np.sqrt(share * (1 - share) / safe + z * z / (4 * safe * safe))
    return np.where(n > 0, np.maximum(middle - half, 0.0), 0.0), np.where(n > 0, np.minimum(middle + half, 1.0), 1.0)
