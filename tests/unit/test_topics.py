"""The settings of topics that a restart relies on."""

from __future__ import annotations

from cli.topics import _new_topic
from models.config import Kafka
from models.topics import CONTROLS, EVENTS, ITEMS

YEAR_MS = 365 * 86_400_000


def test_that_an_item_was_withdrawn_is_kept_for_ever():
    settings = {name: _new_topic(Kafka(), name).topic_configs for name in (ITEMS, CONTROLS, EVENTS)}
    assert settings[ITEMS]["cleanup.policy"] == "compact"
    assert int(settings[ITEMS]["delete.retention.ms"]) > 50 * YEAR_MS
    assert not any("delete.retention.ms" in settings[name] for name in (CONTROLS, EVENTS))
