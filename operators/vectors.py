"""VECTORS: the vectors of items, made once for each text in the learn path; the serve path never runs a language model for an item.

Key
    the item's id: the key of the Kafka record, or the payload's where the record has none
Input
    Row(value bytes, partition, offset) of `items`, from the beginning of the topic
State
    ``digest``  ValueState of bytes, 8 an item: of the encoder's version and of what the item's vector was made from. What it is the same
                for is not encoded again, also after a restore. It is cleared with the item. No TTL: it is as old as the catalogue
Timers
    none. Texts are encoded one by one as they come: on one core a batch saves little, and changes the last bits
Outputs
    main: Row(key bytes, value bytes) for `model-updates`, an empty value where the item is gone; side, where the scorer projects vectors:
    the same records for the LEARNER
Late, duplicate and malformed events
    The last record of an item counts. One that cannot be read makes nothing and is counted: RECOMMEND, which reads the topic too, has
    made a dead letter of it. After a restore a record may be published once more, with the same bytes.
Flink metrics
    ``vectors_made``, ``vectors_unchanged``, ``vectors_unreadable``
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

from pyflink.common import Row, Types
from pyflink.datastream import KeyedProcessFunction, OutputTag, RuntimeContext
from pyflink.datastream.state import ValueStateDescriptor

from models.catalogue import decode_catalogue_entry
from models.config import Configuration
from models.events import Rejected
from models.identity import hash64
from models.text.vectors import gone, vector_key
from operators.learn import BYTES
from operators.threads import use_one_thread

FOR_LEARNER = OutputTag("vectors", Types.ROW([Types.LONG(), BYTES]))
_DIGEST = struct.Struct("<q")


class MakeVectors(KeyedProcessFunction):  # type: ignore[misc]
    """The adapter of `models.text.vectors.VectorMaker`.

    Parameters
    ----------
    configuration : the whole configuration
    learner_key : key of the learner, None where its scorer projects no vectors: an operator that yields to an output that nobody
        reads hangs
    """

    def __init__(self, configuration: Configuration, *, learner_key: int | None) -> None:
        self._config, self._learner_key = configuration, learner_key

    def open(self, runtime_context: RuntimeContext) -> None:
        from models.pipeline import vector_maker

        use_one_thread()
        self._maker = vector_maker(self._config)
        self._digest = runtime_context.get_state(ValueStateDescriptor("digest", Types.PICKLED_BYTE_ARRAY()))
        metrics = runtime_context.get_metrics_group()
        self._made, self._unchanged, self._unreadable = (
            metrics.counter(f"vectors_{name}") for name in ("made", "unchanged", "unreadable")
        )

    def process_element(self, value: Row, ctx: KeyedProcessFunction.Context) -> Iterator[Any]:
        raw = None if value[0] is None else bytes(value[0])
        try:
            item_id, item = decode_catalogue_entry(ctx.get_current_key() or None, raw)
            if item is None:
                self._digest.clear()
                yield from self._publish(item_id, b"", gone(hash64(item_id)))
                return
            before = self._digest.value()
            digest, record = self._maker.make(item_id, item, known=0 if before is None else _DIGEST.unpack(before)[0])
        except (Rejected, ValueError):
            self._unreadable.inc()
            return
        if record is None:
            self._unchanged.inc()
            return
        self._made.inc()
        self._digest.update(_DIGEST.pack(digest))
        yield from self._publish(item_id, record, record)

    def _publish(self, item_id: str, value: bytes, message: bytes) -> Iterator[Any]:
        yield Row(vector_key(item_id).encode(), value)
        if self._learner_key is not None:
            yield FOR_LEARNER, Row(self._learner_key, message)
