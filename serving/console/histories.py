"""What users did lately, as the topic `events` says it."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass

from models.events import ERASE, EventRecord

USERS = 20_000
ACTS = 50


@dataclass(frozen=True, slots=True)
class Act:
    """One thing that a user did.

    Attributes
    ----------
    event_id, item_id, type, event_time_ms, value : of the event; no type is the configuration's default
    """

    event_id: str
    item_id: str
    type: str | None
    event_time_ms: int
    value: float | None


class Histories:
    """The last acts of the users who were active last: `ACTS` each, of `USERS`."""

    def __init__(self) -> None:
        self._acts: OrderedDict[str, deque[Act]] = OrderedDict()

    def put(self, event: EventRecord) -> None:
        """Note one event; an erasure forgets its user."""
        user_id = str(event.user_id).strip()
        # as the job reads types
        if isinstance(event.type, str) and event.type.strip().lower() == ERASE:
            self._acts.pop(user_id, None)
            return
        acts = self._acts.setdefault(user_id, deque(maxlen=ACTS))
        self._acts.move_to_end(user_id)
        if len(self._acts) > USERS:
            self._acts.popitem(last=False)
        acts.append(Act(str(event.event_id), str(event.item_id).strip(), event.type, int(event.event_time_ms), event.value))

    def of(self, user_id: str) -> list[Act]:
        """The acts of a user, the newest first."""
        return sorted(self._acts.get(user_id, ()), key=lambda act: -act.event_time_ms)
