"""When a model that cannot learn one event at a time is fitted anew."""

from __future__ import annotations

FIRST_FIT_EVENTS = 100
GROWS_FROM_EVENTS = 100_000


class Refits:
    """Says when a refit is due: when the events have doubled, at the latest every so many.

    So that a short stream is not left to an untrained model, the first fit is after 100 events. So that a long one takes
    a time in proportion to its length, the distance grows from the 100,000th event on, in proportion to the events so far:
    a fit costs that much more as well.

    Parameters
    ----------
    every : events between two fits, up to the 100,000th event

    Examples
    --------
    >>> refits = Refits(500)
    >>> [events for events in range(2_001) if refits.due(events)]
    [100, 200, 400, 800, 1300, 1800]
    """

    def __init__(self, every: int) -> None:
        if every < 1:
            raise ValueError(f"expected a refit every 1 or more events, got {every}")
        self.every = every
        self._next = min(every, FIRST_FIT_EVENTS)

    def due(self, events: int) -> bool:
        """Whether to fit now, after so many events; asked after every event."""
        if events < self._next:
            return False
        self._next = events + min(events, max(self.every, events * self.every // GROWS_FROM_EVENTS))
        return True

    def __str__(self) -> str:
        return f"refit every {self.every:,} events (from {GROWS_FROM_EVENTS:,} on every {self.every / GROWS_FROM_EVENTS:.0%})"
