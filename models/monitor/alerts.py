"""The schema of the `alerts` topic: a surge of a topic, or of an entity in it, that was raised or cleared."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from models.fields import Milliseconds
from models.monitor.texts import Sentiment

AlertKind = Literal["volume", "negative"]
Count = Annotated[int, Meta(ge=0)]


class AlertText(Struct, frozen=True, kw_only=True, gc=False):
    """One of the texts that caused an alert.

    Attributes
    ----------
    text_id, kind, source, author, event_time_ms : as in `texts`
    text : its words, the first 500 characters
    sentiment : as the monitor judged it
    entities : whom it is about
    """

    text_id: str
    kind: str
    text: str
    event_time_ms: Milliseconds
    sentiment: Sentiment
    source: str | None = None
    author: str | None = None
    entities: list[str] = []


class Alert(Struct, frozen=True, kw_only=True):
    """The value of one record of `alerts`. A surge is raised once and cleared once, under one `alert_id`.

    A record that a restore writes again has the same `alert_id` and `state`: readers take the first of each.

    Attributes
    ----------
    alert_id : of the surge: the same topic, entity, kind and first window give the same id
    state : raised or cleared
    kind : volume (more texts than expected) or negative (a larger part of them is negative than expected)
    topic : also the key of the record
    entity : whom it is about, where it is about one entity in the topic
    raised_window_end_ms : end of the window in which it was raised
    window_start_ms, window_end_ms : the window that raised or cleared it, its end excluded
    texts : number of texts in that window, near-duplicates left out
    expected_texts : that were usual for this hour
    negative_share, expected_negative_share : of the texts, null where there were none
    score : how far it was from what is usual, in standard deviations
    entities : that the texts which caused it name, the most frequent first, at most 5
    examples : of a raised alert the texts that tell most of the others, near-duplicates left out
    cleared_by : usual (it is as usual again) or duration (it lasted for monitor.max_surge_hours, and is what is usual now)
    emitted_at_ms : the job's clock
    """

    alert_id: str
    state: Literal["raised", "cleared"]
    kind: AlertKind
    topic: str
    entity: str | None = None
    raised_window_end_ms: Milliseconds
    window_start_ms: Milliseconds
    window_end_ms: Milliseconds
    texts: Count
    expected_texts: Annotated[float, Meta(ge=0)]
    negative_share: float | None
    expected_negative_share: float | None
    score: float
    entities: list[str] = []
    examples: list[AlertText] = []
    cleared_by: Literal["usual", "duration"] | None = None
    emitted_at_ms: Milliseconds = 0
