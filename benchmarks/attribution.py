"""What it costs an event to follow slates: the codec of the open slates, the join, the newcomer, the slate that closes, its record.

    python -m benchmarks.attribution

Workload open-slates-1: a user with 8 open slates of 10 items with features, each event misses them all, is answered by a slate, and
closes the oldest: what an active user's event usually is. Best and median of 30 repeats of 200 calls, microseconds; a step is beside
it, as only a job with several strategies has it.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from timeit import repeat

import msgspec

from models.attribution import Attribution, OpenSlates, Tally, decode_open_slates, encode_open_slates
from models.config import Configuration
from models.identity import item_hash64
from models.pipeline import LocalPipeline
from models.policies.state import context_of
from tests import synthetic

REPEATS, CALLS = 30, 200


def timed(call: Callable[[], object]) -> tuple[float, float]:
    """Best and median microseconds of a call."""
    us = [seconds / CALLS * 1e6 for seconds in repeat(call, number=CALLS, repeat=REPEATS)]
    return min(us), median(us)


def main() -> None:
    """Run and print."""
    config = Configuration()
    pipeline = LocalPipeline(config)
    stream = synthetic.events(900, users=12, items=300)
    for event in stream:
        pipeline.learn(event)
        recommendation = pipeline.recommend(event)
    attribution, user, last = Attribution(config), pipeline.users[stream[-1].user_id], stream[-1]
    context, rows = context_of(user.state), pipeline.recommender._slates.generator.generate(0, user.state, user.seen).features[:10]
    slates = OpenSlates()

    def opened() -> None:
        attribution.open(
            slates, recommendation, items=user.state.last_slate, rows=rows, context=context, sitting=1, watermark_ms=0, tally=Tally()
        )

    for _ in range(8):
        opened()
    raw, miss, tally = encode_open_slates(slates), item_hash64("what nobody was shown"), Tally()

    def answered() -> Tally:
        tally = Tally()
        opened()
        attribution.settle(slates, watermark_ms=0, tally=tally)
        return tally

    [closed] = answered().closed
    assert len(slates.slates) == 8
    assert closed.closed_by == "bound"
    parts = {
        "decode": lambda: decode_open_slates(raw),
        "join": lambda: attribution.join(slates, last, miss, watermark_ms=0, tally=tally),
        "context": lambda: context_of(user.state),
        "open and close": answered,
        "timer": lambda: attribution.due_ms(slates, watermark_ms=0),
        "encode": lambda: encode_open_slates(slates),
        "record": lambda: msgspec.json.encode(attribution.outcome(closed, last.user_id)),
    }
    figures = {name: timed(call) for name, call in parts.items()}
    for name, (best, middle) in figures.items():
        print(f"{name:15} {best:6.1f} {middle:6.1f}")
    print(f"{'sum':15} {sum(best for best, _ in figures.values()):6.1f} {sum(middle for _, middle in figures.values()):6.1f}")
    best, middle = timed(lambda: attribution.step(closed))
    print(f"{'step':15} {best:6.1f} {middle:6.1f}")
    print(f"{len(raw):,} bytes of state, {len(msgspec.json.encode(attribution.outcome(closed, last.user_id))):,} bytes a record")


if __name__ == "__main__":
    main()
