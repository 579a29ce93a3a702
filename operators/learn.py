"""The learn path: one operator for every model that is learned from messages and published as records.

Key
    the shard (CO-OCCURRENCE) or the model (LEARNER, BANDIT), a LONG that the sender chose
Input
    bytes: one message of the model
State
    `operators.snapshot_log`
Timers
    one processing-time timer a key, armed by a message when none is: the publication. It is part of a checkpoint, and a
    restore learns the log again, so that nothing stays unpublished.
Output
    Row(key bytes, value bytes) for `model-updates`
Late, duplicate and malformed events
    do not reach it: RECOMMEND has cleaned them. Bytes that cannot be decoded break an invariant and stop the job.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from pyflink.common import Row
from pyflink.datastream import KeyedProcessFunction, RuntimeContext

from models.config import Configuration
from models.cooccurrence import CooccurrenceTable
from models.learner import Learner
from models.model_file import decode_model
from models.pipeline import warm_up
from models.policies.learner import PolicyLearner
from operators.snapshot_log import SnapshotLog, SnapshotModel
from operators.threads import use_one_thread


class Learn(KeyedProcessFunction):  # type: ignore[misc]
    """Learns messages and publishes what changed.

    Parameters
    ----------
    configuration : the whole configuration
    make : creates an empty model
    snapshot_every : messages of one key between two snapshots
    publish_interval_ms : a changed row waits at most this long; 0 publishes as soon as the model has updates
    """

    def __init__(
        self,
        configuration: Configuration,
        make: Callable[[], SnapshotModel],
        *,
        snapshot_every: int,
        publish_interval_ms: int,
    ) -> None:
        self._config = configuration
        self._make = make
        self._snapshot_every = snapshot_every
        self._publish_interval_ms = publish_interval_ms

    def open(self, runtime_context: RuntimeContext) -> None:
        use_one_thread()
        warm_up(self._config)
        self._log = SnapshotLog(runtime_context, self._make, snapshot_every=self._snapshot_every)
        self._armed: set[Any] = set()

    def process_element(self, value: bytes, ctx: KeyedProcessFunction.Context) -> Iterator[Row]:
        key = ctx.get_current_key()
        model = self._log.learn(key, bytes(value))
        if self._log.is_snapshot_due(key):
            yield from _records(model)
            self._log.snapshot(key)
        elif self._publish_interval_ms == 0:
            if model.has_updates():
                yield from _records(model)
        elif key not in self._armed:
            timers = ctx.timer_service()
            timers.register_processing_time_timer(timers.current_processing_time() + self._publish_interval_ms)
            self._armed.add(key)

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[Row]:
        key = ctx.get_current_key()
        self._armed.discard(key)
        yield from _records(self._log.model(key))


def _records(model: SnapshotModel) -> Iterator[Row]:
    for key, value in model.take_updates():
        yield Row(key.encode(), value)


def learn_cooccurrence(configuration: Configuration) -> Learn:
    """CO-OCCURRENCE: the rows of one item shard."""
    item_cf, popularity = configuration.item_cf, configuration.popularity
    return Learn(
        configuration,
        lambda: CooccurrenceTable(item_cf, popularity),
        snapshot_every=item_cf.snapshot_every,
        publish_interval_ms=item_cf.publish_interval_ms,
    )


def learn_ranker(configuration: Configuration, model: bytes | None = None) -> Learn:
    """LEARNER: the network that re-ranks candidates.

    Parameters
    ----------
    model : a file to begin with (`models.model_file`) where there is no state
    """
    learner, scorer = configuration.learner, configuration.scorer

    def make() -> Learner:
        start = None if model is None else decode_model(model, "the model that was submitted")
        return Learner(learner, scorer, epoch=int(time.time()), start=start)

    return Learn(
        configuration,
        make,
        snapshot_every=learner.snapshot_every,
        publish_interval_ms=0,
    )


def learn_policy(configuration: Configuration) -> Learn:
    """BANDIT: the tables by which the policy chooses among the ranking strategies."""
    policy = configuration.policy
    return Learn(
        configuration,
        lambda: PolicyLearner(policy, epoch=int(time.time())),
        snapshot_every=configuration.learner.snapshot_every,
        publish_interval_ms=configuration.item_cf.publish_interval_ms,
    )
