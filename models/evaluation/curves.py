"""How well probabilities order and how true they are: precision-recall curve, reliability, Brier score."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from models.evaluation.uncertainty import wilson_interval


class PrecisionRecall(Struct, frozen=True, kw_only=True):
    """Precision against recall, from the highest threshold to the lowest.

    Attributes
    ----------
    thresholds : falling scores; all items with at least that score count as predicted
    precision, recall : at each of them
    area : average precision, sum over the curve of (R_i - R_{i-1}) * P_i, without interpolation
    positives : number of relevant items that recall is a share of
    """

    thresholds: list[float]
    precision: list[float]
    recall: list[float]
    area: float
    positives: int


def precision_recall(
    scores: npt.NDArray[np.floating], labels: npt.NDArray[np.bool_], *, points: int | None = None
) -> PrecisionRecall:
    """The curve over all distinct scores.

    As scikit-learn's ``precision_recall_curve`` and ``average_precision_score``, but from the highest threshold on, and without
    the artificial last point; Davis and Goadrich, "The relationship between precision-recall and ROC curves", ICML 2006, on why
    it is not interpolated.

    Parameters
    ----------
    scores : float[m]
    labels : bool[m], relevant
    points : thin the curve (not the area) to at most so many points
    """
    if not len(scores):
        return PrecisionRecall(thresholds=[], precision=[], recall=[], area=0.0, positives=0)
    order = np.argsort(-scores, kind="stable")
    falling = scores[order].astype(np.float64)
    ends = np.r_[np.flatnonzero(np.diff(falling)), len(falling) - 1]
    hits = np.cumsum(labels[order])[ends].astype(np.float64)
    total = int(labels.sum())
    precision = hits / (ends + 1)
    recall = hits / (total or 1)
    area = float((np.diff(recall, prepend=0.0) * precision).sum())
    kept = np.arange(len(ends))
    if points is not None and len(kept) > points:
        # even steps of recall: there the curve is read
        steps = np.searchsorted(recall, np.linspace(0, recall[-1], points - 1))
        kept = np.unique(np.r_[steps, len(ends) - 1])
    return PrecisionRecall(
        thresholds=falling[ends][kept].tolist(),
        precision=precision[kept].tolist(),
        recall=recall[kept].tolist(),
        area=area,
        positives=total,
    )


class Reliability(Struct, frozen=True, kw_only=True):
    """Predicted probabilities against what happened, in bins of equal size.

    Attributes
    ----------
    predicted : mean probability of each bin, rising
    observed : share that was relevant
    low, high : 95 % interval of it
    n : predictions of each bin
    brier : mean of (probability - outcome)**2 over all predictions, 0 is best
    brier_skill : 1 - brier / (brier of always predicting the base rate), 1 is best, 0 no better than that
    expected_calibration_error : mean of |observed - predicted| over the predictions, by bin
    base_rate : share of all that was relevant
    mean_predicted : mean probability of all
    """

    predicted: list[float]
    observed: list[float]
    low: list[float]
    high: list[float]
    n: list[int]
    brier: float
    brier_skill: float
    expected_calibration_error: float
    base_rate: float
    mean_predicted: float


def reliability(
    probabilities: npt.NDArray[np.floating], labels: npt.NDArray[np.bool_], *, bins: int = 20
) -> Reliability | None:
    """Reliability diagram, Brier score and expected calibration error.

    Brier, "Verification of forecasts expressed in terms of probability", Monthly Weather Review 78(1), 1950; Naeini, Cooper and
    Hauskrecht, "Obtaining well calibrated probabilities using Bayesian binning", AAAI 2015, for the error. The bins hold equally many
    predictions: most probabilities of a recommender are small, and bins of equal width would put all of them into the first.

    Parameters
    ----------
    probabilities : float[m], 0 to 1
    labels : bool[m]
    bins : at most so many; predictions of equal probability share one

    Returns
    -------
    Reliability or None
        None without predictions.
    """
    m = len(probabilities)
    if m == 0:
        return None
    order = np.argsort(probabilities, kind="stable")
    rising = probabilities[order].astype(np.float64)
    outcome = labels[order].astype(np.float64)
    cuts = np.linspace(0, m, min(bins, m) + 1).astype(np.int64)[1:-1]
    starts = np.unique(np.r_[0, np.searchsorted(rising, rising[cuts], "left")]) if len(cuts) else np.zeros(1, np.int64)
    n = np.diff(np.r_[starts, m])
    predicted = np.add.reduceat(rising, starts) / n
    hits = np.add.reduceat(outcome, starts)
    low, high = wilson_interval(hits, n)
    base_rate = float(outcome.mean())
    brier = float(((rising - outcome) ** 2).mean())
    uninformed = base_rate * (1 - base_rate)
    return Reliability(
        predicted=predicted.tolist(),
        observed=(hits / n).tolist(),
        low=low.tolist(),
        high=high.tolist(),
        n=n.tolist(),
        brier=brier,
        brier_skill=1 - brier / uninformed if uninformed > 0 else 0.0,
        expected_calibration_error=float((np.abs(hits / n - predicted) * n).sum() / m),
        base_rate=base_rate,
        mean_predicted=float(rising.mean()),
    )
