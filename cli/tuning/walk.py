"""One configuration on its way through a stream: it can stop anywhere, be judged so far, and go on later."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping

import msgspec
import numpy as np
import numpy.typing as npt

from cli.evaluation.run import Asked
from cli.tuning.metric import Metric
from models.config import Configuration
from models.evaluation.prequential import PrequentialEvaluator, cause_before
from models.evaluation.recorder import MISS, UNJUDGED
from models.evaluation.splits import gains, hits
from models.events import Event
from models.pipeline import LocalPipeline
from models.topics import CatalogueItem


def judged_from(events: int) -> int:
    """Where the last third of so many events begins."""
    return events - events // 3


class Walk:
    """A pipeline that is judged by each event before it learns from it, as in `flinkrec evaluate`.

    Parameters
    ----------
    configuration : the whole configuration
    catalogue : by item id, applied before the first event
    asked : which slate an event tests
    """

    def __init__(
        self, configuration: Configuration, catalogue: Mapping[str, CatalogueItem], *, asked: Asked
    ) -> None:
        self.configuration = configuration
        self._asked = asked
        self._pipeline = LocalPipeline(configuration)
        for item_id, item in catalogue.items():
            self._pipeline.apply_catalogue(item_id, msgspec.json.encode(item))
        self._evaluator = PrequentialEvaluator(configuration.slate.k)
        self._served: dict[str, list[str]] = {}
        self._positions = array("h")

    def __len__(self) -> int:
        return len(self._positions)

    @property
    def positions(self) -> npt.NDArray[np.int16]:
        """Of each event so far its place in the slate, `MISS` or `UNJUDGED`, int16[n]."""
        return np.array(self._positions, np.int16)

    def score(self, metric: Metric) -> float:
        """Mean over what was judged in the last third of the events so far, 0 where that is nothing."""
        positions = self.positions
        values = values_of(positions[judged_from(len(positions)) :], metric)
        return float(values.mean()) if len(values) else 0.0

    def take(self, events: Iterable[Event]) -> None:
        """Go on through these events."""
        for event in events:
            self._positions.append(self._step(event))

    def _step(self, event: Event) -> int:
        event_type = self.configuration.events.types[event.type]
        shown = self._served.pop(event.user_id, None)
        judgement = None
        if event_type.weight > 0:
            if self._asked is Asked.BEFORE and event.user_id in self._pipeline.users:
                shown = self._recommended(cause_before(event))
            judgement = self._evaluator.judge(event.user_id, event.item_id, shown)
        self._pipeline.learn(event)
        if self._asked is Asked.SERVED and event_type.makes_slate:
            self._served[event.user_id] = self._recommended(event)
        elif shown is not None and event_type.weight <= 0:
            self._served[event.user_id] = shown
        return UNJUDGED if judgement is None else judgement.position or MISS

    def _recommended(self, event: Event) -> list[str]:
        return [item.item_id for item in self._pipeline.recommend(event).items]


def values_of(positions: npt.NDArray[np.int16], metric: Metric) -> npt.NDArray[np.float64]:
    """What each judged event says of a metric, float64[judged]."""
    judged = positions[positions != UNJUDGED]
    return hits(judged) if metric is Metric.HIT_RATE else gains(judged)
