"""How streams get into and out of a job: sources with keys, keys taken in the JVM, side outputs without Python, sinks.

Everything here exists to keep Python out of the way: a Python map between two operators, or a key taken in Python, costs more
than the recommender's own work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pyflink.common import Duration, TypeInformation, Types, WatermarkStrategy
from pyflink.common.serialization import RowFieldExtractorSchema
from pyflink.datastream import DataStream, KeyedStream, OutputTag
from pyflink.datastream.connectors.kafka import (
    DeliveryGuarantee,
    KafkaRecordSerializationSchema,
    KafkaSink,
)
from pyflink.java_gateway import get_gateway
from pyflink.table import StreamTableEnvironment

from models.config import Configuration, Kafka
from models.controls import control_key
from models.cooccurrence import ROW_PREFIX
from models.topics import CONTROLS, ITEMS, LABELS, MODEL_DELTAS, MODEL_UPDATES, REQUESTS, TEXTS, topic_name

BYTES = Types.PRIMITIVE_ARRAY(Types.BYTE())
EVENT = Types.ROW([BYTES, Types.LONG(), Types.LONG()])
EVENT_ROW = Types.ROW([Types.STRING(), EVENT])
TEXT = Types.ROW([BYTES, Types.STRING(), Types.LONG(), Types.LONG()])
TEXT_ROW = Types.ROW([Types.LONG(), TEXT])
_TEXT_RECORD = "ROW<v BYTES, k STRING, p BIGINT, o BIGINT>"
UPDATE_ROW = Types.ROW([Types.STRING(), Types.STRING(), BYTES, Types.LONG()])
# Partitions without events must not hold up the others.
EVENTS_IDLE_MS = 10_000
# The same of texts, whose windows are to be told about within seconds of their end.
TEXTS_IDLE_MS = 1_000
# Updates and requests have no clock, and are out of the watermark from their first pause on (for good: nothing makes them active again).
TIMELESS_IDLE_MS = 1
# What the serve path hands to the learn path may wait so long for more of its kind, and what comes back as well: a wake-up
# costs as much as many records, and nobody waits for this one.
LEARN_PATH_DELAY_MS = 100
_BATCH_BYTES = 262_144


_KEYED_COLUMNS = """
            k STRING,
            v BYTES,
            record_partition INT METADATA FROM 'partition' VIRTUAL,
            record_offset BIGINT METADATA FROM 'offset' VIRTUAL"""


def event_source(t_env: StreamTableEnvironment, configuration: Configuration, topic: str) -> DataStream:
    """The events with the key of the Kafka record, falling back to the payload's user_id, as `EVENT_ROW`.

    The watermark follows the Kafka time stamps, which producers set to the event time; one from the future is clipped
    to the clock before it can move the watermark.
    """
    ahead_s = max(1, configuration.events.max_future_ms // 1000)
    options = _source_options(configuration.kafka, topic) | {"scan.watermark.idle-timeout": f"{EVENTS_IDLE_MS} ms"}
    t_env.execute_sql(
        f"""
        CREATE TEMPORARY TABLE events_source ({_KEYED_COLUMNS},
            record_time TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL,
            event_time AS LEAST(record_time, TIMESTAMPADD(SECOND, {ahead_s}, CURRENT_ROW_TIMESTAMP())),
            WATERMARK FOR event_time AS event_time
        ) WITH ({_options(options)})
        """
    )
    return _keyed_by_user(t_env, "events_source", partition="record_partition")


def request_source(t_env: StreamTableEnvironment, kafka: Kafka, *, from_ms: int) -> DataStream:
    """The requests from a point of time on, as `EVENT_ROW` with partitions that `operators.recommend.request_mark` tells from the events'.

    Whoever asked long before the job began does not wait any more. Like the updates they have no clock.
    """
    options = _source_options(kafka, topic_name(kafka.topic_prefix, REQUESTS)) | _from(from_ms)
    t_env.execute_sql(f"CREATE TEMPORARY TABLE requests_source ({_KEYED_COLUMNS}) WITH ({_options(options)})")
    requests = _keyed_by_user(t_env, "requests_source", partition="-1 - record_partition")
    return requests.assign_timestamps_and_watermarks(_timeless())


def item_source(t_env: StreamTableEnvironment, kafka: Kafka) -> DataStream:
    """The catalogue from its beginning, with the key of the record, falling back to the payload's item_id, as `EVENT_ROW`.

    The whole of it, wherever the job begins in the events: whose vectors are known is in the state of who makes them.
    """
    options = _source_options(kafka, topic_name(kafka.topic_prefix, ITEMS)) | {"scan.startup.mode": "earliest-offset"}
    t_env.execute_sql(f"CREATE TEMPORARY TABLE items_source ({_KEYED_COLUMNS}) WITH ({_options(options)})")
    items = _keyed(t_env, "items_source", field="item_id", partition="record_partition")
    return items.assign_timestamps_and_watermarks(_timeless())


def _keyed_by_user(t_env: StreamTableEnvironment, source: str, *, partition: str) -> DataStream:
    return _keyed(t_env, source, field="user_id", partition=partition)


def _keyed(t_env: StreamTableEnvironment, source: str, *, field: str, partition: str) -> DataStream:
    table = t_env.sql_query(
        f"""
        SELECT
            COALESCE(NULLIF(k, ''), TRIM(JSON_VALUE(CAST(v AS STRING), '$.{field}' NULL ON EMPTY NULL ON ERROR)), '') AS k,
            CAST(ROW(v, CAST({partition} AS BIGINT), record_offset) AS ROW<v BYTES, p BIGINT, o BIGINT>) AS record
        FROM {source}
        """
    )
    return typed(t_env.to_data_stream(table), EVENT_ROW)


def text_source(t_env: StreamTableEnvironment, configuration: Configuration, *, shard_keys: Sequence[int]) -> DataStream:
    """The texts by shard, as `TEXT_ROW`, with the watermark of their Kafka time stamps, monitor.out_of_order_ms behind the latest.

    Where monitor.wall_clock is on and nothing has come for `TEXTS_IDLE_MS`, the watermark follows the clock instead. Where it is off no
    partition is ever idle: behind an idle source the short way to WATCH would wake before the long one through the windows, and their
    counts would come late.
    """
    monitor = configuration.monitor
    ahead_s = max(1, configuration.events.max_future_ms // 1000)
    topic = topic_name(configuration.kafka.topic_prefix, TEXTS)
    options = _source_options(configuration.kafka, topic)
    if monitor.wall_clock:
        options |= {"scan.watermark.idle-timeout": f"{TEXTS_IDLE_MS} ms"}
    behind = _interval(monitor.out_of_order_ms)
    t_env.execute_sql(
        f"""
        CREATE TEMPORARY TABLE texts_source ({_KEYED_COLUMNS},
            record_time TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL,
            event_time AS LEAST(record_time, TIMESTAMPADD(SECOND, {ahead_s}, CURRENT_ROW_TIMESTAMP())),
            WATERMARK FOR event_time AS event_time - {behind}
        ) WITH ({_options(options)})
        """
    )
    texts = _by_shard(t_env, "texts_source", shard_keys, partition="record_partition")
    return texts.union(_clock(t_env, behind, shard_keys)) if monitor.wall_clock else texts


def _interval(ms: int) -> str:
    """A time in SQL; a number of seconds alone has no more than three digits."""
    seconds, ms = divmod(ms, 1_000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"INTERVAL '{days} {hours:02}:{minutes:02}:{seconds:02}.{ms:03}' DAY TO SECOND(3)"


def _clock(t_env: StreamTableEnvironment, behind: str, shard_keys: Sequence[int]) -> DataStream:
    """No records, and the clock as the watermark."""
    t_env.execute_sql(
        f"""
        CREATE TEMPORARY TABLE clock_source (
            n INT,
            event_time AS CURRENT_ROW_TIMESTAMP(),
            WATERMARK FOR event_time AS event_time - {behind}
        ) WITH ('connector' = 'datagen', 'rows-per-second' = '2', 'fields.n.min' = '0', 'fields.n.max' = '1')
        """
    )
    nothing = f"CAST({shard_keys[0]} AS BIGINT), CAST(ROW(CAST(NULL AS BYTES), CAST(NULL AS STRING), 0, 0) AS {_TEXT_RECORD})"
    # no row has such a number, which the planner does not know
    return typed(t_env.to_data_stream(t_env.sql_query(f"SELECT {nothing} FROM clock_source WHERE n < 0")), TEXT_ROW)


def label_source(t_env: StreamTableEnvironment, configuration: Configuration, *, shard_keys: Sequence[int]) -> DataStream:
    """The labels, as `TEXT_ROW` with partitions that `operators.recommend.request_mark` tells from the texts'; they have no clock."""
    options = _source_options(configuration.kafka, topic_name(configuration.kafka.topic_prefix, LABELS))
    t_env.execute_sql(f"CREATE TEMPORARY TABLE labels_source ({_KEYED_COLUMNS}) WITH ({_options(options)})")
    labels = _by_shard(t_env, "labels_source", shard_keys, partition="-1 - record_partition")
    return labels.assign_timestamps_and_watermarks(_timeless())


def _by_shard(t_env: StreamTableEnvironment, source: str, shard_keys: Sequence[int], *, partition: str) -> DataStream:
    """Records by the hash of their text's id: that of the record's key, or of the payload where it has none."""
    text_id = "COALESCE(NULLIF(k, ''), JSON_VALUE(CAST(v AS STRING), '$.text_id' NULL ON EMPTY NULL ON ERROR), '')"
    n = len(shard_keys)
    keys = ", ".join(f"CAST({key} AS BIGINT)" for key in shard_keys)
    table = t_env.sql_query(
        f"""
        SELECT
            ARRAY[{keys}][MOD(MOD(HASH_CODE({text_id}), {n}) + {n}, {n}) + 1] AS shard,
            CAST(ROW(v, k, CAST({partition} AS BIGINT), record_offset) AS {_TEXT_RECORD}) AS record
        FROM {source}
        """
    )
    return typed(t_env.to_data_stream(table), TEXT_ROW)


def update_source(t_env: StreamTableEnvironment, kafka: Kafka, *, from_ms: int) -> DataStream:
    """The broadcast topics from a point of time on, as `UPDATE_ROW` of topic, key, value (None: a tombstone) and the broker's time in ms.

    The rows in `model-updates` are for replicas that start; who follows is told what changed in them by `model-deltas`. So are the
    accepted rules: who follows has read `controls` itself, and what comes here a moment later may be older than what it read since.
    """
    updates_topic = topic_name(kafka.topic_prefix, MODEL_UPDATES)
    learned = (CONTROLS, MODEL_UPDATES, MODEL_DELTAS)
    rules = control_key("%")
    told_otherwise = f"record_topic = '{updates_topic}' AND k IS NOT NULL AND (k LIKE '{ROW_PREFIX}%' OR k LIKE '{rules}')"
    # A source each: in one, what is learned would wait behind a whole catalogue that somebody writes at once.
    items = _updates(t_env, kafka, "catalogue_source", (ITEMS,), from_ms=from_ms)
    return items.union(_updates(t_env, kafka, "updates_source", learned, from_ms=from_ms, without=told_otherwise))


def _updates(
    t_env: StreamTableEnvironment, kafka: Kafka, name: str, topics: Sequence[str], *, from_ms: int, without: str = "FALSE"
) -> DataStream:
    options = _source_options(kafka, ";".join(topic_name(kafka.topic_prefix, topic) for topic in topics)) | _from(from_ms)
    t_env.execute_sql(
        f"""
        CREATE TEMPORARY TABLE {name} (
            k STRING,
            v BYTES,
            record_topic STRING METADATA FROM 'topic' VIRTUAL,
            record_time TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL
        ) WITH ({_options(options)})
        """
    )
    table = t_env.sql_query(
        f"""
        SELECT
            record_topic, k, v, EXTRACT(EPOCH FROM record_time) * 1000 + EXTRACT(MILLISECOND FROM record_time) AS record_time_ms
        FROM {name}
        WHERE NOT ({without})
        """
    )
    return typed(t_env.to_data_stream(table), UPDATE_ROW).assign_timestamps_and_watermarks(_timeless())


def _timeless() -> WatermarkStrategy:
    """Never a watermark, idle for ever: the clock of updates and requests is the wall's, and would make the events of a replay late."""
    return WatermarkStrategy.no_watermarks().with_idleness(Duration.of_millis(TIMELESS_IDLE_MS))


def _from(time_ms: int) -> dict[str, str]:
    return {"scan.startup.mode": "timestamp", "scan.startup.timestamp-millis": str(time_ms)}


def _source_options(kafka: Kafka, topic: str) -> dict[str, str]:
    startup = {"earliest": "earliest-offset", "latest": "latest-offset", "committed": "group-offsets"}
    properties = {f"properties.{name}": value for name, value in kafka.properties.items()}
    return properties | {
        "connector": "kafka",
        "topic": topic,
        "properties.bootstrap.servers": kafka.bootstrap_servers,
        "properties.group.id": kafka.topic_prefix + kafka.consumer_group,
        "properties.auto.offset.reset": "earliest",
        "scan.startup.mode": startup[kafka.start_from],
        "key.format": "raw",
        "key.fields": "k",
        "value.format": "raw",
        "value.fields-include": "EXCEPT_KEY",
    }


def _options(options: Mapping[str, str]) -> str:
    def quoted(text: str) -> str:
        return "'" + text.replace("'", "''") + "'"

    return ", ".join(f"{quoted(name)} = {quoted(value)}" for name, value in options.items())


def sql_options(kafka: Kafka, topic: str, *, transactional_prefix: str) -> str:
    """Options of an exactly-once SQL sink that writes keyed JSON."""
    properties = {f"properties.{name}": value for name, value in kafka.properties.items()}
    return _options(
        properties
        | {
            "connector": "kafka",
            "topic": topic,
            "properties.bootstrap.servers": kafka.bootstrap_servers,
            "properties.transaction.timeout.ms": str(kafka.transaction_timeout_ms),
            "sink.delivery-guarantee": "exactly-once",
            "sink.transactional-id-prefix": kafka.topic_prefix + transactional_prefix,
            "key.format": "raw",
            "value.format": "json",
            "value.fields-include": "EXCEPT_KEY",
        }
    )


def typed(stream: DataStream, type_info: TypeInformation) -> DataStream:
    """The same stream with an exact Java type: that of a table is external, and no Python operator can read it."""
    stream._j_data_stream.getTransformation().setOutputType(type_info.get_java_type_info())
    return stream


def keyed_in_jvm(stream: DataStream, key_type: TypeInformation, value_type: TypeInformation) -> KeyedStream:
    """Key a stream of Row(key, value) by its first field without a Python operator.

    The function that processes it is handed the value alone; ``ctx.get_current_key()`` is the key.
    """
    j_key_type = Types.ROW([key_type]).get_java_type_info()
    j_keyed = stream._j_data_stream.keyBy(get_gateway().jvm.KeyByKeySelector(), j_key_type)
    return KeyedStream(j_keyed, value_type, stream)


def side_output(stream: DataStream, tag: OutputTag) -> DataStream:
    """A side output without the Python map that `get_side_output` would put behind it."""
    return DataStream(stream._j_data_stream.getSideOutput(tag.get_java_output_tag()))


def kafka_sink(
    kafka: Kafka, topic: str, guarantee: DeliveryGuarantee, *, linger_ms: int, transactional_prefix: str
) -> KafkaSink:
    """A sink for Row(key bytes, value bytes).

    Parameters
    ----------
    linger_ms : how long a record may wait for others; a request to the broker costs as much as many records
    transactional_prefix : unique to this sink
    """
    serializer = (
        KafkaRecordSerializationSchema.builder()
        .set_topic(topic)
        .set_key_serialization_schema(RowFieldExtractorSchema(0))
        .set_value_serialization_schema(RowFieldExtractorSchema(1))
        .build()
    )
    builder = (
        KafkaSink.builder()
        .set_bootstrap_servers(kafka.bootstrap_servers)
        .set_delivery_guarantee(guarantee)
        .set_record_serializer(serializer)
        .set_property("transaction.timeout.ms", str(kafka.transaction_timeout_ms))
        .set_property("linger.ms", str(linger_ms))
        .set_property("batch.size", str(_BATCH_BYTES))
    )
    for name, value in kafka.properties.items():
        builder.set_property(name, value)
    if guarantee is DeliveryGuarantee.EXACTLY_ONCE:
        builder.set_transactional_id_prefix(f"{kafka.topic_prefix}{transactional_prefix}")
    return builder.build()


def put_in_slot_group(stream: DataStream, group: str, *, delay_ms: int = LEARN_PATH_DELAY_MS) -> None:
    """Put a table's stream into a slot-sharing group, with everything of the table that is before it.

    Parameters
    ----------
    delay_ms : how long a record may wait in each of them for others on their way to the next operator
    """
    for transformation in stream._j_data_stream.getTransformation().getTransitivePredecessors():
        transformation.setSlotSharingGroup(group)
        transformation.setBufferTimeout(delay_ms)


def shard_keys(shards: int, max_parallelism: int) -> tuple[int, ...]:
    """A key for each shard, such that shard s lies in key group ``s * max_parallelism // shards``.

    Flink hashes keys again: consecutive numbers would share key groups and leave others empty, and one subtask would do the
    work of two. The key is a Row of one LONG, as `keyed_in_jvm` makes it; py4j makes it an Integer, which has the same hash.
    """
    gateway = get_gateway()
    # looked up once: each part of a name is a question to the JVM
    assign = gateway.jvm.org.apache.flink.runtime.state.KeyGroupRangeAssignment.assignToKeyGroup
    row_of, key = gateway.jvm.org.apache.flink.types.Row.of, gateway.new_array(gateway.jvm.java.lang.Object, 1)
    wanted = {s * max_parallelism // shards: s for s in range(shards)}
    keys: dict[int, int] = {}
    candidate = 0
    while len(keys) < shards:
        key[0] = candidate
        shard = wanted.get(assign(row_of(key), max_parallelism))
        if shard is not None:
            keys.setdefault(shard, candidate)
        candidate += 1
    return tuple(keys[s] for s in range(shards))
