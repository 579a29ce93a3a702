"""The exact-state pattern: a model in memory is a cache, the truth is a snapshot and a log in keyed state.

Every message is appended to the log as it came; every `snapshot_every` messages the rows of the model that changed are written
and the log is cleared. On the first access after a restore the snapshot is loaded and the log learned again, so that a
checkpoint always holds exactly the messages before its barrier. What a crash left unpublished is in the log, hence
learned again, hence published again: a snapshot must therefore never be written before what it covers was published.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from pyflink.common import Types
from pyflink.datastream import RuntimeContext
from pyflink.datastream.state import ListStateDescriptor, MapStateDescriptor


class SnapshotModel(Protocol):
    """A model whose state is made of rows: `models.cooccurrence.CooccurrenceTable`, `models.learner.Learner`."""

    def learn_one(self, message: bytes) -> None:
        """Learn one message."""

    def has_updates(self) -> bool:
        """Whether there is something to publish."""

    def take_updates(self) -> Sequence[tuple[str, bytes | None]]:
        """What changed since the last call, to be published; None is a tombstone."""

    def take_snapshot(self) -> list[tuple[str, bytes]]:
        """The rows that changed since the last call, to be saved."""

    def load_snapshot(self, rows: Iterable[tuple[str, bytes]]) -> None:
        """Fill a new model from saved rows."""


class SnapshotLog:
    """The models of all keys of one subtask, each backed by a snapshot and a log.

    State
    -----
    ``log``   ListState of bytes: the messages since the last snapshot, in order; at most `snapshot_every` of them
    ``rows``  MapState of str to bytes: the rows of the last snapshot; bounded by what the model bounds
    No TTL: both are the model itself.

    Parameters
    ----------
    make : creates an empty model of a key
    snapshot_every : messages of one key between two snapshots
    require_own : is handed each key and its model as it is rebuilt, and raises where that cannot be this key's
    """

    def __init__(
        self,
        context: RuntimeContext,
        make: Callable[[Any], SnapshotModel],
        *,
        snapshot_every: int,
        require_own: Callable[[Any, Any], None] | None = None,
    ) -> None:
        self._make = make
        self._require_own = require_own
        self._snapshot_every = snapshot_every
        self._log = context.get_list_state(ListStateDescriptor("log", Types.PICKLED_BYTE_ARRAY()))
        self._rows = context.get_map_state(
            MapStateDescriptor("rows", Types.STRING(), Types.PICKLED_BYTE_ARRAY())
        )
        self._models: dict[Any, SnapshotModel] = {}
        self._logged: dict[Any, int] = {}

    @property
    def models(self) -> Mapping[Any, SnapshotModel]:
        """The models of the keys that were used since `open`."""
        return self._models

    def model(self, key: Any) -> SnapshotModel:
        """The model of the current key, rebuilt from state on the first access after `open`."""
        found = self._models.get(key)
        if found is None:
            found = self._make(key)
            # Without this guard the restore of an empty key would start a new life (epoch) of its model.
            rows = list(self._rows.items())
            if rows:
                found.load_snapshot(rows)
            logged = 0
            for message in self._log:
                found.learn_one(message)
                logged += 1
            if self._require_own is not None:
                self._require_own(key, found)
            self._models[key] = found
            self._logged[key] = logged
        return found

    def learn(self, key: Any, message: bytes) -> SnapshotModel:
        """Log a message and learn it."""
        model = self.model(key)
        self._log.add(message)
        model.learn_one(message)
        self._logged[key] += 1
        return model

    def drop(self, key: Any) -> None:
        """Forget the model of the current key, with all its state."""
        self._log.clear()
        self._rows.clear()
        del self._models[key], self._logged[key]

    def is_snapshot_due(self, key: Any) -> bool:
        """Whether the log of the current key is full."""
        return self._logged[key] >= self._snapshot_every

    def snapshot(self, key: Any) -> None:
        """Write the changed rows and clear the log; what they hold must have been published before."""
        for row, value in self._models[key].take_snapshot():
            self._rows.put(row, value)
        self._log.clear()
        self._logged[key] = 0
