"""What a search found: the best configuration beside the base, on the events that it was chosen by and on others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from cli.tuning.metric import Metric
from cli.tuning.search import Search
from cli.tuning.walk import Walk, judged_from, values_of
from models.evaluation.recorder import UNJUDGED
from models.evaluation.space import Value
from models.evaluation.uncertainty import Mean, mean_of


class Beside(Struct, frozen=True):
    """One metric of the best configuration beside the base's, on the same events.

    Attributes
    ----------
    gain : the mean paired difference, the best's less the base's
    """

    base: Mean
    best: Mean
    gain: Mean

    @property
    def means(self) -> tuple[Mean, Mean, Mean]:
        """All three, in this order."""
        return self.base, self.best, self.gain


class Stretch(Struct, frozen=True):
    """A stretch of the stream.

    Attributes
    ----------
    events : its length, 0 where nobody came so far
    metrics : by what is measured
    """

    events: int
    metrics: dict[Metric, Beside]


class Outcome(Struct, frozen=True):
    """What a search found.

    Attributes
    ----------
    changes : value of the base and of the best, by key
    tuning : the stretch that the best was chosen by; its gain is too good by as much as the choice went by luck
    rest : the stretch that no trial has seen
    """

    changes: dict[str, tuple[Value, Value]]
    tuning: Stretch
    rest: Stretch

    def is_adopted(self, metric: Metric) -> bool:
        """Whether the changes are to be used: not where the rest speaks against them."""
        rest = self.rest.metrics[metric].gain
        return bool(self.changes) and (rest.n == 0 or rest.value > 0)


def outcome_of(search: Search, user_ids: Sequence[str]) -> Outcome:
    """What a search found so far.

    Parameters
    ----------
    search : whose base is judged
    user_ids : whose event each of the stream is
    """
    base, best = search.first, search.best
    assert base is not None
    assert best is not None
    _, users = np.unique(np.array(user_ids), return_inverse=True)
    taken = min(len(base.walk), len(best.walk))
    tuning = slice(judged_from(search.tuning_events), search.tuning_events)
    rest = slice(search.tuning_events, max(taken, search.tuning_events))
    return Outcome(
        changes={key: (base.values[key], new) for key, new in best.values.items() if new != base.values[key]},
        tuning=_stretch(base.walk, best.walk, users, tuning),
        rest=_stretch(base.walk, best.walk, users, rest),
    )


def _stretch(base: Walk, best: Walk, users: npt.NDArray[np.int64], part: slice) -> Stretch:
    theirs, ours, who = base.positions[part], best.positions[part], users[part]
    judged = theirs != UNJUDGED
    metrics = {}
    for metric in Metric:
        before, after = values_of(theirs, metric), values_of(ours, metric)
        means = [mean_of(values, who[judged]) for values in (before, after, after - before)]
        metrics[metric] = Beside(*means)
    return Stretch(len(theirs), metrics)
