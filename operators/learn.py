"""The learn path: one operator for every model that is learned from messages and published as records.

Key
    the shard (CO-OCCURRENCE) or the model (LEARNER, BANDIT), a LONG that the sender chose
Input
    bytes: one message of the model
State
    `operators.snapshot_log`
Timers
    one processing-time timer a key and kind of publication, armed by a message when none is. It is part of a checkpoint,
    and a restore learns the log again, so that nothing stays unpublished.
Outputs
    main: Row(key bytes, value bytes) for `model-updates`; side: the same for `model-deltas`
Late, duplicate and malformed events
    do not reach it: RECOMMEND has cleaned them. Bytes that cannot be decoded break an invariant and stop the job.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pyflink.common import Row, Types
from pyflink.datastream import KeyedProcessFunction, OutputTag, RuntimeContext

from models.config import Configuration
from models.cooccurrence import CooccurrenceTable
from models.learner import Learner
from models.model_file import decode_model
from models.pipeline import warm_up
from models.policies.learner import PolicyLearner
from operators.snapshot_log import SnapshotLog, SnapshotModel
from operators.threads import use_one_thread

Publication = Callable[[Any, Any], Iterator[Any]]
"""Takes from the model of a key what has changed, as what the operator yields."""

BYTES = Types.PRIMITIVE_ARRAY(Types.BYTE())
DELTAS = OutputTag("deltas", Types.ROW([BYTES, BYTES]))


class Learn(KeyedProcessFunction):  # type: ignore[misc]
    """Learns messages and publishes what changed.

    Parameters
    ----------
    configuration : the whole configuration
    make : creates an empty model
    snapshot_every : messages of one key between two snapshots
    publications : what is published, and how many milliseconds after the first message that it has not seen
    """

    def __init__(
        self,
        configuration: Configuration,
        make: Callable[[], SnapshotModel],
        *,
        snapshot_every: int,
        publications: Sequence[tuple[Publication, int]],
    ) -> None:
        self._config = configuration
        self._make = make
        self._snapshot_every = snapshot_every
        self._publications = tuple(publications)

    def open(self, runtime_context: RuntimeContext) -> None:
        use_one_thread()
        warm_up(self._config)
        self._log = SnapshotLog(runtime_context, self._make, snapshot_every=self._snapshot_every)
        self._due: dict[tuple[Any, Publication], int] = {}

    def process_element(self, value: bytes, ctx: KeyedProcessFunction.Context) -> Iterator[Any]:
        key = ctx.get_current_key()
        model = self._log.learn(key, bytes(value))
        if self._log.is_snapshot_due(key):
            for publish, _ in self._publications:
                yield from publish(key, model)
            self._log.snapshot(key)
            return
        for publish, delay_ms in self._publications:
            if delay_ms == 0:
                if model.has_updates():
                    yield from publish(key, model)
            elif (key, publish) not in self._due:
                timers = ctx.timer_service()
                due = timers.current_processing_time() + delay_ms
                timers.register_processing_time_timer(due)
                self._due[key, publish] = due

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[Any]:
        key = ctx.get_current_key()
        model = self._log.model(key)
        for publish, _ in self._publications:
            # a timer of an earlier life is due whatever it was for
            if self._due.get((key, publish), 0) <= timestamp:
                self._due.pop((key, publish), None)
                yield from publish(key, model)


def _updates(key: int, model: SnapshotModel) -> Iterator[Row]:
    for record, value in model.take_updates():
        yield Row(record.encode(), value)


def _deltas(shard: int, table: CooccurrenceTable) -> Iterator[tuple[OutputTag, Row]]:
    # the deltas of a row follow each other, so they all go into one partition
    for record in table.take_deltas():
        yield DELTAS, Row(str(shard).encode(), record)


def learn_cooccurrence(configuration: Configuration) -> Learn:
    """CO-OCCURRENCE: the rows of one item shard."""
    item_cf, popularity = configuration.item_cf, configuration.popularity
    return Learn(
        configuration,
        lambda: CooccurrenceTable(item_cf, popularity),
        snapshot_every=item_cf.snapshot_every,
        publications=((_deltas, item_cf.publish_interval_ms), (_updates, item_cf.rows_interval_ms)),
    )


def learn_ranker(configuration: Configuration, model: bytes | None = None) -> Learn:
    """LEARNER: the network that re-ranks candidates.

    Parameters
    ----------
    model : a file to begin with (`models.model_file`) where there is no state
    """
    learner, scorer, gate, k = configuration.learner, configuration.scorer, configuration.gate, configuration.slate.k

    def make() -> Learner:
        start = None if model is None else decode_model(model, "the model that was submitted")
        return Learner(learner, scorer, gate=gate, k=k, epoch=int(time.time()), start=start)

    return Learn(
        configuration,
        make,
        snapshot_every=learner.snapshot_every,
        publications=((_updates, 0),),
    )


def learn_policy(configuration: Configuration) -> Learn:
    """BANDIT: the tables by which the policy chooses among the ranking strategies."""
    policy = configuration.policy
    return Learn(
        configuration,
        lambda: PolicyLearner(policy, epoch=int(time.time())),
        snapshot_every=configuration.learner.snapshot_every,
        publications=((_updates, configuration.item_cf.publish_interval_ms),),
    )
