"""How unequally the items of a catalogue are treated: Lorenz curve, Gini index, share of the most popular.

Of recommendations compared with consumption: Fleder and Hosanagar, "Blockbuster culture's next rise or fall", Management Science
55(5), 2009; Abdollahpouri, Mansoury, Burke and Mobasher, "The unfairness of popularity bias in recommendation", RMSE at RecSys 2019.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def lorenz(counts: npt.NDArray[np.integer]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Lorenz curve (Lorenz, "Methods of measuring the concentration of wealth", 1905).

    Parameters
    ----------
    counts : int[s], how often each item was taken, items never taken included

    Returns
    -------
    items, taken : float64[s + 1]
        Share of the items, the rarest first, and the share of all that they make up; both run from 0 to 1. The diagonal
        where nothing was taken at all.
    """
    rising = np.sort(counts).astype(np.float64)
    items = np.linspace(0.0, 1.0, len(rising) + 1)
    total = rising.sum()
    return items, np.r_[0.0, np.cumsum(rising) / total] if total > 0 else items.copy()


def gini(counts: npt.NDArray[np.integer]) -> float:
    """Gini index: twice the area between diagonal and Lorenz curve.

    0 when all items are taken equally often, (s - 1) / s when all is one item's; 0 without items.

    Examples
    --------
    >>> gini(np.array([1, 1, 1, 1])), gini(np.array([0, 0, 0, 5]))
    (0.0, 0.75)
    """
    if not len(counts):
        return 0.0
    items, taken = lorenz(counts)
    return float(1.0 - np.trapezoid(taken, items) * 2.0)


def share_of_most_taken(counts: npt.NDArray[np.integer], most: float) -> float:
    """Share of all that goes to the most taken items.

    Parameters
    ----------
    most : share of the items that are "the most taken", 0 to 1; rounded up to whole items
    """
    total = counts.sum()
    if total == 0:
        return 0.0
    size = int(np.ceil(len(counts) * most))
    return float(np.sort(counts)[len(counts) - size :].sum() / total)
