"""What the editor of rules begins with: an example of each kind, and what its fields mean in the words of `models.controls`."""

from __future__ import annotations

import inspect
import re

import msgspec

from models.controls import RULES, SINGLE

EXAMPLES: dict[str, dict[str, object]] = {
    "boost": {"factor": 2.0, "categories": ["Comedy"]},
    "exclude": {"items": ["ITEM_ID"]},
    "pin": {"item": "ITEM_ID", "position": 1},
    "include": {"items": ["ITEM_ID"]},
    "category_caps": {"most": 3},
    "brand_caps": {"most": 2},
    "frequency_cap": {"most": 3, "window_s": 86_400},
    "campaign": {"budget": 100.0, "per": "day"},
    "sources": {"item_cf": 0.7, "user_cf": 0.2, "trending": 0.1},
    "epsilon": {"epsilon": 0.1},
    "policy": {"name": "thompson"},
    "experiment": {"salt": "first", "arms": {"today": {}, "other": {"policy": {"name": "ucb1"}}}},
    "pinned_version": {"version": "EPOCH.NUMBER"},
}
"""A rule of each kind, the most used first."""


def example(kind: str) -> str:
    """The JSON that a new rule of a kind begins with."""
    return pretty_rule(EXAMPLES[kind])


def pretty_rule(rule: object) -> str:
    """JSON of a rule, a field a line."""
    return msgspec.json.format(msgspec.json.encode(rule), indent=2).decode()


def meaning(kind: str) -> tuple[str, list[tuple[str, str]]]:
    """What a kind of rule does, and its fields with what each means."""
    doc = inspect.getdoc(RULES[kind]) or ""
    summary = doc.partition("\n")[0]
    said = summary.partition(": ")[2] or summary
    fields = re.findall(r"^(\w[\w, ]*) : (.*(?:\n    .+)*)", doc, re.MULTILINE)
    return said[0].upper() + said[1:], [(name, " ".join(text.split())) for name, text in fields]


def rule_name(kind: str, label: str | None) -> str:
    """Name of a rule: its kind, and behind a colon what tells it from others of its kind."""
    label = (label or "").strip()
    return kind if kind in SINGLE or not label else f"{kind}:{label}"


def label_of(name: str) -> tuple[str, str]:
    """Kind and label of a rule by its name."""
    kind, _, label = name.partition(":")
    return kind, label
