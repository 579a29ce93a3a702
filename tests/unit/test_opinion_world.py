"""The world of public opinion: what its specification says, and that the preset finds its surges."""

from __future__ import annotations

import yaml

from cli.domains.registry import preset_path
from models.domains.opinion import DAYS, START_MS, OpinionStream, opinion_stream
from models.domains.opinion_figures import alert_figures, alerts_of_truth
from models.validation import parse_configuration

TOPIC = "deals"
STREAM = opinion_stream(1)


def of_topic() -> OpinionStream:
    posts = [post for post in STREAM.posts if post.topic == TOPIC]
    return OpinionStream(posts, [], [surge for surge in STREAM.surges if surge.topic == TOPIC])


def test_the_stream_has_the_surges_of_its_specification_in_order_of_time():
    kinds = sorted((surge.kind, surge.entity is not None) for surge in STREAM.surges)
    assert kinds == [("negative", False)] * 3 + [("negative", True)] + [("volume", False)] * 4 + [("volume", True)] * 2
    assert all((surge.begin_ms - START_MS) // 86_400_000 % 7 < 5 for surge in STREAM.surges)
    times = [post.text.event_time_ms for post in STREAM.posts]
    assert times == sorted(times)
    assert times[0] >= START_MS
    assert times[-1] < START_MS + (DAYS + 1) * 86_400_000
    assert len({post.text.text_id for post in STREAM.posts}) == len(STREAM.posts)


def test_the_preset_raises_no_false_alert_of_a_topic_and_finds_its_surges():
    preset = parse_configuration(yaml.safe_load(preset_path("opinion").read_text()), "opinion.yaml").monitor
    found = alert_figures(of_topic(), alerts_of_truth(of_topic(), preset))
    assert (found.precision, found.uncleared) == (1, 0)
    assert len(found.found) >= 2
