"""A seeded stream of events with structure: users of a few tastes, items of a few kinds, popular ones more often."""

from __future__ import annotations

import numpy as np

from models.events import Event

KINDS = 6


def events(n: int, *, seed: int = 7, users: int = 60, items: int = 300, start_ms: int = 1_700_000_000_000) -> list[Event]:
    """`n` events in time order, some seconds apart; a user takes no item twice while others of the kind are left."""
    draw = np.random.default_rng(seed)
    taste = draw.integers(KINDS, size=users)
    of_kind = [np.arange(items)[np.arange(items) % KINDS == kind] for kind in range(KINDS)]
    popularity = [1.0 / (1 + np.arange(len(of_kind[kind]))) ** 0.6 for kind in range(KINDS)]
    had: list[set[int]] = [set() for _ in range(users)]
    stream = []
    time_ms = start_ms
    for number in range(n):
        user = int(draw.integers(users))
        kind = int(taste[user]) if draw.random() < 0.8 else int(draw.integers(KINDS))
        free = [place for place, item in enumerate(of_kind[kind]) if int(item) not in had[user]]
        places = np.array(free if free else range(len(of_kind[kind])))
        weight = popularity[kind][places]
        item = int(of_kind[kind][draw.choice(places, p=weight / weight.sum())])
        had[user].add(item)
        time_ms += int(draw.integers(1_000, 30_000))
        value = float(draw.integers(1, 6))
        stream.append(Event(f"s-{number}", f"user-{user}", f"item-{item}", "rating", time_ms, value))
    return stream
