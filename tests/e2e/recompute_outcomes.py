"""What `outcomes` must hold, computed a second time, from the records of `events` and `recommendations` and the configuration alone.

It shares nothing with the job: plain dicts, one event after the other, the rules of docs/outcomes.md and the states of
docs/policies.md written down once more. What it cannot know is left out: the features of the items, and when the clock of the
machine closed the slates of users of whom no more was heard.

The watermark is taken for the largest event time so far, which it is for one partition and events that come in order.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from typing import Any

Record = dict[str, Any]


class Person:
    """All that is kept of one user."""

    def __init__(self) -> None:
        self.queue: list[Record] = []
        self.early: list[Record] = []
        self.left: deque[str] = deque(maxlen=16)
        self.heard = -math.inf
        self.ids: deque[str] = deque(maxlen=64)
        self.taken: list[tuple[str, int, int]] = []  # item, time, sitting
        self.events = 0
        self.latest = -1
        self.shown: list[str] | None = None


class Recomputation:
    """Goes through the events once.

    Parameters
    ----------
    config : the configuration as plain values, all keys present
    recommendations : values of the topic, in its order; of a slate that was made twice the later one is what the job knows
    """

    def __init__(self, config: Record, recommendations: Iterable[Record]) -> None:
        self.types = config["events"]["types"]
        self.rules = config["outcomes"]
        self.grace = config["events"]["late_after_ms"]
        self.gap = int(config["profile"]["sitting_gap_s"] * 1000)
        self.remembered = config["profile"]["items"]
        self.made = {(r["user_id"], r["event_id"]): r for r in recommendations}
        self.people: dict[str, Person] = {}
        self.watermark = -math.inf
        self.outcomes: list[Record] = []
        self.counts = dict.fromkeys(("joined", "late", "orphan", "superseded"), 0)

    def event(self, e: Record) -> None:
        """One record of `events`, in the order of the topic."""
        person = self.people.setdefault(e["user_id"], Person())
        self.close_due(e["user_id"], person, self.watermark)
        if e.get("type") == "erase":
            del self.people[e["user_id"]]
            self.watermark = max(self.watermark, e["event_time_ms"])
            return
        kind = self.types[e.get("type") or "view"]
        if e["event_id"] in person.ids:
            self.watermark = max(self.watermark, e["event_time_ms"])
            return
        person.ids.append(e["event_id"])
        person.heard = max(person.heard, e["event_time_ms"])
        is_impression = e.get("type") == "impression"
        if is_impression or kind["weight"] > 0 or kind["reward"]:
            self.attribute(person, e, is_impression, self.earned(kind, e.get("value")))
        if kind["weight"] > 0:
            self.take(person, e)
        if kind["makes_slate"]:
            self.open(person, self.made[e["user_id"], e["event_id"]])
        self.close_due(e["user_id"], person, self.watermark)
        self.watermark = max(self.watermark, e["event_time_ms"])

    def finish(self) -> list[Record]:
        """Close what is left, as when no more events come; all outcomes, a user's in the order of the slates."""
        for user_id, person in self.people.items():
            self.close_due(user_id, person, self.watermark)
            for slate in person.queue:
                slate["over"] = True
            while person.queue:
                in_time = self.is_over(person.queue[0], person)
                self.leave(user_id, person, "window" if in_time else "heartbeat", None)
            self.counts["orphan"] += len(person.early)
        return self.outcomes

    # ---------------------------------------------------------------------------------------------- events

    def earned(self, kind: Record, value: float | None) -> float:
        reward = kind["weight"] if kind["reward"] is None else kind["reward"]
        if kind["dwell_ms_full"] is not None:
            return reward * min(1.0, max(0.0, (value or 0.0) / kind["dwell_ms_full"]))
        return reward * (value or 0.0) if kind["times_value"] else reward

    def now(self, person: Person) -> float:
        return max(self.watermark, person.heard)

    def is_over(self, slate: Record, person: Person) -> bool:
        return self.now(person) >= slate["time"] + self.rules["window_ms"] + self.grace

    def attribute(self, person: Person, e: Record, is_impression: bool, reward: float) -> None:
        if e.get("slate_id") is None:
            fitting = [s for s in person.queue if e["item_id"] in s["came"] and s["time"] <= e["event_time_ms"]]
            if fitting:
                slate = max(fitting, key=lambda s: (s["time"], s["seq"]))
                self.credit(person, slate, e, is_impression, reward)
            return
        named = [s for s in person.queue if s["id"] == e["slate_id"]]
        if named:
            self.credit(person, named[0], e, is_impression, reward)
        elif e["slate_id"] in person.left:
            self.counts["late"] += 1
        elif len(e["slate_id"]) != 16 or set(e["slate_id"]) - set("0123456789abcdef"):
            self.counts["orphan"] += 1
        else:
            person.early.append({"event": e, "impression": is_impression, "reward": reward})
            if len(person.early) > 8:
                person.early.pop(0)
                self.counts["orphan"] += 1

    def credit(self, person: Person, slate: Record, e: Record, is_impression: bool, reward: float) -> None:
        if e["event_time_ms"] - slate["time"] > self.rules["window_ms"] or self.is_over(slate, person):
            self.counts["late"] += 1
        elif e.get("slate_id") and e.get("revision") not in (None, slate["revision"]):
            slate["superseded"] = True
            self.counts["superseded"] += 1
        elif is_impression:
            slate["active"] = True
        elif e["item_id"] in slate["came"]:
            slate["came"][e["item_id"]].append((e["event_time_ms"], reward))
            slate["all"].append((e["event_time_ms"], reward))
            slate["active"] = True
            self.counts["joined"] += 1
        else:
            self.counts["orphan"] += 1

    def take(self, person: Person, e: Record) -> None:
        new = person.latest < 0 or e["event_time_ms"] - person.latest > self.gap
        sitting = (person.taken[-1][2] if person.taken else 0) + new
        person.taken = [*person.taken, (e["item_id"], e["event_time_ms"], sitting)][-self.remembered :]
        person.events += 1
        person.latest = max(person.latest, e["event_time_ms"])

    # ---------------------------------------------------------------------------------------------- slates

    def open(self, person: Person, made: Record) -> None:
        slate = {
            "id": made["slate_id"],
            "revision": made["revision"],
            "seq": made["seq"],
            "time": made["event_time_ms"],
            "sitting": person.taken[-1][2] if person.taken else 0,
            "active": self.rules["served_means_seen"],
            "superseded": False,
            "over": False,
            "came": {item["item_id"]: [] for item in made["items"]},
            "all": [],
            "made": made,
            "context": self.context(person),
        }
        person.shown = [item["item_id"] for item in made["items"]]
        person.queue.append(slate)
        self.drop_early(person)
        waited = [w for w in person.early if w["event"]["slate_id"] == slate["id"]]
        person.early = [w for w in person.early if w not in waited]
        for w in waited:
            self.credit(person, slate, w["event"], w["impression"], w["reward"])

    def context(self, person: Person) -> Record:
        times = [time for _, time, _ in person.taken]
        gap = max(0, times[-1] - times[-2]) if len(times) > 1 else None
        depth = sum(sitting == person.taken[-1][2] for _, _, sitting in person.taken)
        activity = 0 if person.events < 5 else 1 if person.events < 50 else 2
        recency = 2 if gap is None or gap > 86_400_000 else 1 if gap > 300_000 else 0
        level = 0 if depth < 2 else 1 if depth < 5 else 2
        outcome = 0
        if person.shown:
            latest = person.taken[-1] if person.taken else None
            before = person.taken[-2] if len(person.taken) > 1 else None
            went_on = latest is not None and before is not None and (latest[0], latest[2]) == (before[0], before[2])
            outcome = 2 if latest is not None and (went_on or latest[0] in person.shown) else 1
        features = [
            1.0,
            min(1.0, math.log(1 + person.events) / math.log(1001)),
            1.0 if gap is None else min(1.0, math.log(1 + gap / 3_600_000) / math.log(721)),
            min(1.0, math.log(max(1, depth)) / math.log(50)),
            float(outcome == 1),
            float(outcome == 2),
        ]
        return {"state": 27 * activity + 9 * recency + 3 * level + outcome, "features": features}

    def drop_early(self, person: Person) -> None:
        kept = [w for w in person.early if self.now(person) <= w["event"]["event_time_ms"] + self.rules["backward_ms"]]
        self.counts["orphan"] += len(person.early) - len(kept)
        person.early = kept

    def close_due(self, user_id: str, person: Person, watermark: float) -> None:
        self.drop_early(person)
        while person.queue:
            first, too_many = person.queue[0], len(person.queue) > self.rules["max_open"]
            over = self.is_over(first, person)
            if not too_many and not (over and self.is_decided(person)):
                return
            self.leave(user_id, person, "window" if over else "bound", person.queue[-1]["time"])

    def is_decided(self, person: Person) -> bool:
        """Whether it is known what followed the first slate."""
        first, *others = person.queue
        for other in others:
            if other["sitting"] != first["sitting"] or other["active"]:
                return True
            if not self.is_over(other, person):
                return False
        return self.now(person) >= person.heard + self.gap + self.grace

    def leave(self, user_id: str, person: Person, closed_by: str, bound_time: int | None) -> None:
        slate = person.queue.pop(0)
        person.left.append(slate["id"])
        following = None
        for other in person.queue:
            if other["sitting"] != slate["sitting"]:
                break
            if other["active"]:
                following = other
                break
            if not (other["over"] or self.is_over(other, person)):
                break
        made = slate["made"]
        times = {"window": slate["time"] + self.rules["window_ms"], "bound": bound_time, "heartbeat": None}
        self.outcomes.append(
            {name: made[name] for name in ("slate_id", "revision", "seq", "user_id", "event_id", "policy", "action")}
            | {name: made[name] for name in ("action_probability", "arm", "versions", "request_id")}
            | {
                "slate_time_ms": slate["time"],
                "closed_time_ms": times[closed_by],
                "closed_by": closed_by,
                "activated": slate["active"],
                "superseded": slate["superseded"],
                "context": slate["context"],
                "items": [self.item(slate, item) for item in made["items"]],
                "reward": self.aggregated(slate["all"]),
                "outcomes": len(slate["all"]),
                "delay_ms": self.delay(slate, slate["all"]),
                "next": None if following is None else following["context"] | {"action": following["made"]["action"]},
                "terminal": following is None,
            }
        )

    def item(self, slate: Record, item: Record) -> Record:
        came = slate["came"][item["item_id"]]
        shown = {name: item[name] for name in ("item_id", "position", "propensity", "probability", "explored")}
        return shown | {"reward": self.aggregated(came), "events": len(came), "delay_ms": self.delay(slate, came)}

    def aggregated(self, came: list[tuple[int, float]]) -> float:
        if not came:
            return self.rules["default_reward"]
        if self.rules["aggregation"] == "earliest":
            return min(came, key=lambda each: each[0])[1]
        return (sum if self.rules["aggregation"] == "sum" else max)(reward for _, reward in came)

    def delay(self, slate: Record, came: list[tuple[int, float]]) -> int | None:
        return max(0, min(time for time, _ in came) - slate["time"]) if came else None


def recomputed(config: Record, recommendations: Iterable[Record], events: Iterable[Record]) -> list[Record]:
    """The outcomes, a user's in the order of the slates; without the features of the items."""
    recomputation = Recomputation(config, recommendations)
    for event in events:
        recomputation.event(event)
    return recomputation.finish()


def comparable(outcomes: Iterable[Record]) -> list[Record]:
    """Outcomes as they can be compared: without what cannot be recomputed, and with rounded features."""
    return sorted((_comparable(outcome) for outcome in outcomes), key=lambda o: (o["user_id"], o["seq"]))


def _comparable(outcome: Record) -> Record:
    kept = dict(outcome)
    kept["items"] = [{name: value for name, value in item.items() if name != "features"} for item in outcome["items"]]
    for name in ("context", "next"):
        if kept[name] is not None:
            kept[name] = kept[name] | {"features": [round(value, 9) for value in kept[name]["features"]]}
    if kept["closed_by"] == "heartbeat":
        kept["closed_time_ms"] = None
    return kept
