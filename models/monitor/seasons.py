"""What is usual for a series of windows: robust, by the hour of the day and the day of the week.

The count x of a window is looked at as ``a = 2 sqrt(x + 3/8)``, which of a Poisson count has a standard deviation of about 1 whatever
its mean (Anscombe, "The transformation of Poisson, binomial and negative-binomial data", Biometrika 35, 1948). What is usual now is the
median of a over the same window of earlier days, of the most alike days of which there are enough:

    days of the same weekday              at least `_MIN_WEEKS`
    workdays, or days of the weekend      at least min_days
    any days                              at least min_days; not their median but their maximum: another kind of day proves nothing

The standard deviation is 1, and what a median of few days adds; times that of earlier windows from what was usual then, where that is
more than 1. It is taken around their median, from values that are cut off at two of their median absolute deviations times 1.4826: the
median absolute deviation by itself is coarse for counts as small as these. The usual share of negative texts is the median over the last days; of an
entity with few texts it is drawn towards its topic's. Windows of a surge are left out of what is usual.

Layout of a series, version 1 (little endian): ``version u8 | n u32 | last index i64 | texts u16[n] | negative u16[n] | flags u8[n] |
volume residual f16[n] | share residual f16[n]``, the newest window last; index is the number of the window since 1970. n is at most
history_days.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from math import sqrt

import numpy as np
import numpy.typing as npt

_VERSION = 1
_HEAD = struct.Struct("<BIq")
_DAY_S = 86_400
_MOST = 65_535
_MIN_WEEKS = 3
_NORMAL = 1.4826
_REACH = 2.0
_MEDIAN_VARIANCE = np.pi / 2
_MIN_RESIDUALS = 24
_RESIDUAL_DAYS = 7
_SHARE_DAYS = 4
_MIN_SHARE_TEXTS = 4
_PRIOR_TEXTS, _PRIOR_SHARE = 20.0, 0.25

VOLUME, NEGATIVE = 1, 2
"""Flags of windows that are of a surge of this kind."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Usual:
    """What is usual for a window, and how far it is from that.

    Attributes
    ----------
    texts : expected number
    texts_high : the same, one standard error of the estimate higher
    volume_score : standard deviations above it
    volume_spread : standard deviation of earlier windows from what was usual, in units of what chance explains; at least 1
    share : expected share of negative texts
    share_score : standard deviations above it
    share_spread : as of the volume
    """

    texts: float
    texts_high: float
    volume_score: float
    volume_spread: float
    share: float
    share_score: float
    share_spread: float


class Series:
    """The windows of one topic, or of one entity in it.

    Parameters
    ----------
    window_s : length of a window, a divisor of a day
    history_days : that are kept
    min_days : of a kind that are enough to know what is usual
    """

    def __init__(self, *, window_s: int, history_days: int, min_days: int) -> None:
        self._a_day = _DAY_S // window_s
        self._history = history_days * self._a_day
        self._min_days = min_days
        self.last_index: int | None = None
        self._texts = np.zeros(0, np.uint16)
        self._negative = np.zeros(0, np.uint16)
        self._flags = np.zeros(0, np.uint8)
        self._residuals = np.zeros((2, 0), np.float16)

    def __len__(self) -> int:
        return len(self._texts)

    def begin(self, first_index: int) -> None:
        """Let the series be empty windows from `first_index` to now: before that nobody looked."""
        self.last_index = first_index - 1

    def judge(self, index: int, texts: int, negative: int, *, prior_share: float = _PRIOR_SHARE) -> Usual | None:
        """How a window that is not in the series yet compares with what is usual; None while that is not known.

        Parameters
        ----------
        index : number of the window since 1970, the one after the last of the series
        texts, negative : what was written in it
        prior_share : share of negative texts that is assumed while there were few: of an entity, that of its topic
        """
        assert self.last_index is not None
        reference = self._reference(index)
        if reference is None:
            return None
        usual, variance = reference
        volume_spread, share_spread = self._spread(0), self._spread(1)
        volume = (float(_stable(texts)) - usual) / (sqrt(1 + variance) * volume_spread)
        share = self._usual_share(prior_share)
        above = (negative - texts * share) / sqrt(texts * share * (1 - share)) if texts else 0.0
        return Usual(
            texts=_texts(usual),
            texts_high=_texts(usual + sqrt(variance)),
            volume_score=volume,
            volume_spread=volume_spread,
            share=share,
            share_score=above / share_spread,
            share_spread=share_spread,
        )

    def _reference(self, index: int) -> tuple[float, float] | None:
        """The usual value on the stable scale, and the variance of the estimate itself."""
        n = len(self._texts)
        assert self.last_index is not None
        back = np.arange(1, self._history // self._a_day + 1) * self._a_day
        places = n - 1 - (self.last_index - (index - back))
        back, places = back[places >= 0], places[places >= 0]
        unflagged = (self._flags[places] & VOLUME) == 0
        back, places = back[unflagged], places[unflagged]
        values = _stable(self._texts[places])
        days = back // self._a_day
        today = index // self._a_day + 3  # 1 January 1970 was a Thursday, Monday is 0
        weekend = (today - days) % 7 >= 5
        for alike, enough in (
            (days % 7 == 0, _MIN_WEEKS),
            (weekend == (today % 7 >= 5), self._min_days),
        ):
            if alike.sum() >= enough:
                return float(np.median(values[alike])), _MEDIAN_VARIANCE / float(alike.sum())
        return (float(values.max()), 1.0) if len(values) >= self._min_days else None

    def _spread(self, kind: int) -> float:
        residuals = self._residuals[kind, -_RESIDUAL_DAYS * self._a_day :].astype(np.float64)
        residuals = residuals[np.isfinite(residuals)]
        if len(residuals) < _MIN_RESIDUALS:
            return 1.0
        apart = residuals - np.median(residuals)
        reach = _REACH * max(1.0, _NORMAL * float(np.median(np.abs(apart))))
        return max(1.0, float(np.sqrt(np.mean(np.clip(apart, -reach, reach) ** 2))))

    def _usual_share(self, prior: float) -> float:
        """The median over the last days, drawn towards the prior where there were few texts."""
        days = min(_SHARE_DAYS, len(self._texts) // self._a_day)
        if not days:
            return prior
        some = slice(-days * self._a_day, None)
        counted = (self._flags[some] & NEGATIVE) == 0
        texts = (self._texts[some] * counted).reshape(days, -1).sum(axis=1)
        negative = (self._negative[some] * counted).reshape(days, -1).sum(axis=1)
        enough = texts >= _MIN_SHARE_TEXTS
        if not enough.any():
            return prior
        n = float(texts[enough].sum())
        return (float(np.median(negative[enough] / texts[enough])) * n + prior * _PRIOR_TEXTS) / (n + _PRIOR_TEXTS)

    def add(self, index: int, texts: int, negative: int, *, usual: Usual | None, flags: int) -> None:
        """Append a window, with the empty ones between the last and it."""
        assert self.last_index is not None
        gap = min(index - self.last_index - 1, self._history)
        volume = np.nan if usual is None or flags & VOLUME else usual.volume_score * usual.volume_spread
        share = np.nan if usual is None or flags & NEGATIVE or texts < _MIN_SHARE_TEXTS else usual.share_score * usual.share_spread
        keep = self._history

        def longer(values: npt.NDArray, value: float, between: float = 0) -> npt.NDArray:
            return np.concatenate([values, np.full(gap, between, values.dtype), np.array([value], values.dtype)])[-keep:]

        self._texts = longer(self._texts, min(texts, _MOST))
        self._negative = longer(self._negative, min(negative, _MOST))
        self._flags = longer(self._flags, flags)
        self._residuals = np.stack([longer(self._residuals[0], volume, np.nan), longer(self._residuals[1], share, np.nan)])
        self.last_index = index

    def accept(self, flag: int, windows: int) -> None:
        """Let the last windows, flagged as of a surge of this kind, be what is usual from now on, and nothing before them."""
        first = max(0, len(self._flags) - windows)
        self._flags[first:] &= ~np.uint8(flag)
        self._flags[:first] |= np.uint8(flag)

    def total(self) -> int:
        """Texts in all of its windows."""
        return int(self._texts.sum())

    def encode(self) -> bytes:
        """The packed bytes (layout: module docstring)."""
        assert self.last_index is not None
        arrays = (self._texts, self._negative, self._flags, self._residuals[0], self._residuals[1])
        return _HEAD.pack(_VERSION, len(self._texts), self.last_index) + b"".join(array.tobytes() for array in arrays)

    def load(self, raw: bytes) -> None:
        """Fill a new series from packed bytes; a ValueError where they are of another version."""
        version, n, self.last_index = _HEAD.unpack_from(raw)
        if version != _VERSION:
            raise ValueError(f"a series of windows of version {version}: this release reads version {_VERSION}")
        place = _HEAD.size

        def take(kind: type) -> npt.NDArray:
            nonlocal place
            array = np.frombuffer(raw, kind, n, place)[-self._history :].copy()
            place += n * array.itemsize
            return array

        self._texts, self._negative, self._flags = take(np.uint16), take(np.uint16), take(np.uint8)
        self._residuals = np.stack([take(np.float16), take(np.float16)])


def _texts(stable: float) -> float:
    return max(0.0, (stable / 2) ** 2 - 0.375)


def _stable(texts: npt.ArrayLike) -> Floats:
    return np.asarray(2 * np.sqrt(np.asarray(texts, np.float64) + 0.375))
