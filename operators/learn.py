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
Flink metrics
    `operators.learn_metrics`
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from pyflink.common import Row, Types
from pyflink.datastream import KeyedProcessFunction, OutputTag, RuntimeContext, TimerService

from models.answers.memory import AnswerMemory
from models.config import Configuration
from models.cooccurrence import CooccurrenceTable
from models.policies.learner import PolicyLearner
from operators.learn_metrics import RankerWatch, Watch, watch_answers, watch_policies, watch_tables
from operators.logs import Log
from operators.metrics import Counter, Metrics
from operators.snapshot_log import SnapshotLog, SnapshotModel
from operators.threads import use_one_thread
from operators.warm import be_warm

if TYPE_CHECKING:
    from models.arm_learner import ArmLearner
    from models.learner import Learner

Publication = Callable[[Any, Any], Iterator[Any]]
"""Takes from the model of a key what has changed, as what the operator yields."""

BYTES = Types.PRIMITIVE_ARRAY(Types.BYTE())
DELTAS = OutputTag("deltas", Types.ROW([BYTES, BYTES]))


class Learn(KeyedProcessFunction):  # type: ignore[misc]
    """Learns messages and publishes what changed.

    Parameters
    ----------
    configuration : the whole configuration
    make : creates an empty model of a key
    snapshot_every : messages of one key between two snapshots
    publications : what is published, and how many milliseconds after the first message that it has not seen
    name : in the log
    watch : metrics of the models
    require_own : see `operators.snapshot_log`
    warm : whether the model runs compiled kernels or networks, which are run once before the first message
    has_ended : whether nothing of a model is to be kept after a message, once its updates are published
    """

    def __init__(
        self,
        configuration: Configuration,
        make: Callable[[Any], SnapshotModel],
        *,
        snapshot_every: int,
        publications: Sequence[tuple[Publication, int]],
        name: str,
        watch: Watch,
        require_own: Callable[[Any, Any], None] | None = None,
        warm: bool = True,
        has_ended: Callable[[Any], bool] = lambda model: False,
    ) -> None:
        self._config = configuration
        self._make = make
        self._snapshot_every = snapshot_every
        self._publications = tuple(publications)
        self._name, self._watch_with, self._require_own = name, watch, require_own
        self._warm, self._has_ended = warm, has_ended

    def open(self, runtime_context: RuntimeContext) -> None:
        use_one_thread()
        if self._warm:
            be_warm(self._config)
        self._log = SnapshotLog(
            runtime_context, self._make, snapshot_every=self._snapshot_every, require_own=self._require_own
        )
        self._due: dict[tuple[Any, Publication], int] = {}
        self._metrics = Metrics(runtime_context.get_metrics_group())
        self._learned = self._metrics.counter("learned")
        self._published: dict[str, Counter] = {}
        self._watch = self._watch_with(self._metrics, Log(self._name))

    def process_element(self, value: bytes, ctx: KeyedProcessFunction.Context) -> Iterator[Any]:
        key = ctx.get_current_key()
        model = self._log.learn(key, bytes(value))
        self._learned.n += 1
        ended = self._has_ended(model)
        if ended or self._log.is_snapshot_due(key):
            for publish, _ in self._publications:
                yield from self._counted(publish(key, model))
            if ended:
                self._log.drop(key)
            else:
                self._log.snapshot(key)
        else:
            yield from self._publish_or_arm(key, model, ctx.timer_service())
        self._tell()

    def _publish_or_arm(self, key: Any, model: SnapshotModel, timers: TimerService) -> Iterator[Any]:
        for publish, delay_ms in self._publications:
            if delay_ms == 0:
                if model.has_updates():
                    yield from self._counted(publish(key, model))
                    self._metrics.hasten()
            elif (key, publish) not in self._due:
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
                yield from self._counted(publish(key, model))
        self._tell()

    def _counted(self, records: Iterator[Any]) -> Iterator[Any]:
        for record in records:
            kind = _kind(record)
            counter = self._published.get(kind)
            if counter is None:
                counter = self._published[kind] = self._metrics.counter("published", record=kind)
            counter.n += 1
            yield record

    def _tell(self) -> None:
        if self._metrics.is_due():
            self._watch(self._log.models)
            self._metrics.tell()


def _kind(record: Any) -> str:
    """What a record is of, by its key in `model-updates`: row, weights, gate, policy; or a delta."""
    return "delta" if isinstance(record, tuple) and record[0] is DELTAS else record[0].partition(b":")[0].decode()


def _updates(key: int, model: SnapshotModel) -> Iterator[Row]:
    for record, value in model.take_updates():
        yield Row(record.encode(), value)


def _deltas(shard: int, table: CooccurrenceTable) -> Iterator[tuple[OutputTag, Row]]:
    # the deltas of a row follow each other, so they all go into one partition
    for record in table.take_deltas():
        yield DELTAS, Row(str(shard).encode(), record)


class OwnItems:
    """Refuses the state of a shard that holds items of others: it was written with another number of shards.

    Such a state must not be gone on from: rows under keys that no message has any more would be served as they are for ever, and
    those under new keys begin anew and take the place of what was published.

    Parameters
    ----------
    shard_keys : key of each shard
    """

    def __init__(self, shard_keys: Sequence[int]) -> None:
        self._shard_keys = tuple(shard_keys)

    def __call__(self, key: int, table: CooccurrenceTable) -> None:
        shards = len(self._shard_keys)
        for row in table:
            if self._shard_keys[row.item % shards] != key:
                raise ValueError(
                    f"item_cf.shards is {shards}, and the state that this job was started from was written with another number: the "
                    f"row of item {row.item_id!r} is not where it would be. Start with that number, or without the state"
                )


def learn_cooccurrence(configuration: Configuration, *, shard_keys: Sequence[int]) -> Learn:
    """CO-OCCURRENCE: the rows of one item shard.

    Parameters
    ----------
    shard_keys : key of each shard
    """
    item_cf, popularity = configuration.item_cf, configuration.popularity
    return Learn(
        configuration,
        lambda _: CooccurrenceTable(item_cf, popularity),
        snapshot_every=item_cf.snapshot_every,
        publications=((_deltas, item_cf.publish_interval_ms), (_updates, item_cf.rows_interval_ms)),
        name="cooccurrence",
        watch=watch_tables,
        require_own=OwnItems(shard_keys),
    )


def learn_ranker(configuration: Configuration, *, learner_key: int, model: bytes | None = None) -> Learn:
    """LEARNER: the networks that re-rank candidates, everybody's and those of an experiment's arms.

    The state of each is bounded by learner.replay_bytes and some MB; that of an arm leaves with the arm.

    Parameters
    ----------
    learner_key : of everybody's network
    model : a file that it begins with (`models.model_file`) where there is no state
    """
    learner, scorer, gate, k = configuration.learner, configuration.scorer, configuration.gate, configuration.slate.k

    def make(key: int) -> Learner | ArmLearner:
        from models.arm_learner import ArmLearner
        from models.learner import Learner
        from models.model_file import decode_model

        epoch = int(time.time())
        if key != learner_key:
            return ArmLearner(configuration, epoch=epoch)
        start = None if model is None else decode_model(model, "the model that was submitted")
        return Learner(learner, scorer, gate=gate, k=k, epoch=epoch, start=start)

    return Learn(
        configuration,
        make,
        snapshot_every=learner.snapshot_every,
        publications=((_updates, 0),),
        name="learner",
        watch=partial(RankerWatch, configuration=configuration),
        has_ended=lambda model: model.has_ended,
    )


def learn_policy(configuration: Configuration) -> Learn:
    """BANDIT: the tables by which policies choose among ranking strategies, one key for each policy that learns.

    The keys beside that of the configured policy stay as small as their tables, some kB, and as many as there were arms.
    """
    policy = configuration.policy
    return Learn(
        configuration,
        lambda _: PolicyLearner(policy, epoch=int(time.time())),
        snapshot_every=configuration.learner.snapshot_every,
        publications=((_updates, configuration.item_cf.publish_interval_ms),),
        name="bandit",
        watch=watch_policies,
        warm=False,
    )


def learn_answers(configuration: Configuration) -> Learn:
    """ANSWERS: the memory of answered questions, one key; its state is bounded by answers.memory records of about 2 kB."""
    answers = configuration.answers
    return Learn(
        configuration,
        lambda _: AnswerMemory(answers),
        snapshot_every=answers.snapshot_every,
        publications=((_updates, configuration.item_cf.publish_interval_ms),),
        name="answers",
        watch=watch_answers,
        warm=False,
    )
