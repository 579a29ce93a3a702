"""The demo of public opinion: two weeks of texts pass through the monitor, and a page shows its alerts beside the true surges."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from cli.domains.registry import DomainDemo
from models.domains.opinion import DAYS, START_MS, OpinionStream, Post, TimedLabel, opinion_stream
from models.monitor.alerts import Alert
from models.monitor.texts import LabelRecord, TextRecord
from models.topics import ALERTS, DEAD_LETTER, METRICS, Metric

if TYPE_CHECKING:
    from models.config import Configuration

SEED = 1
TEXTS_A_SECOND = 50
_DAY_MS = 86_400_000
_LINE_EVERY_S = 5.0
_POLL_MS = 5
_PATIENCE_S = 120.0


class Replay:
    """A stream on its way through the job.

    Attributes
    ----------
    stream : what is sent
    alerts, metrics : what has come
    delays_ms : of each alert, from the text that ended its window to the alert, by the clocks of producer and job
    """

    def __init__(self, configuration: Configuration, stream: OpinionStream) -> None:
        from cli.clients import EventSender, TopicReader

        self.stream = stream
        self.alerts: list[Alert] = []
        self.metrics: list[Metric] = []
        self.delays_ms: list[int] = []
        self._behind_ms = configuration.monitor.out_of_order_ms
        self._sender = EventSender(configuration.kafka)
        self._reader = TopicReader(configuration.kafka, (ALERTS, METRICS, DEAD_LETTER), from_beginning=True, committed=True, at_once=True)
        self._times_ms: list[int] = []
        self._sent_ms: list[int] = []

    def send(self) -> Iterator[Post | TimedLabel]:
        """Send everything in the order of its time, at a pace; what was sent."""
        began_s, sent = time.monotonic(), 0
        for one in _in_order(self.stream):
            if isinstance(one, TimedLabel):
                label = one.label
                self._sender.send_label(LabelRecord(text_id=label.text_id, sentiment=label.sentiment, topic=label.topic))
            else:
                while (wait_s := began_s + sent / TEXTS_A_SECOND - time.monotonic()) > 0:
                    self.receive(min(_POLL_MS, int(1_000 * wait_s)))
                self._send_text(one.text.text_id, one.text.text, one.text.event_time_ms, one.text.kind)
                sent += 1
            yield one

    def _send_text(self, text_id: str, text: str, event_time_ms: int, kind: Any) -> None:
        self._times_ms.append(max(event_time_ms, self._times_ms[-1] if self._times_ms else 0))
        self._sent_ms.append(time.time_ns() // 1_000_000)
        self._sender.send_text(TextRecord(text_id=text_id, text=text, event_time_ms=event_time_ms, kind=kind))

    def end(self) -> None:
        """Send a text of the day after the last, so that all windows end, and read on until their metrics have come."""
        end_ms = START_MS + (DAYS + 1) * _DAY_MS
        self._send_text("the-end", "The exchange is closed today.", end_ms, "news")
        self._sender.flush()
        last_ms = max(post.text.event_time_ms for post in self.stream.posts)
        until_s = time.monotonic() + _PATIENCE_S
        while time.monotonic() < until_s and not any(one.window_end_ms > last_ms for one in self.metrics):
            self.receive(200)

    def receive(self, timeout_ms: int) -> None:
        """Take what has come."""
        for topic, value, _ in self._reader.poll(timeout_ms):
            if topic == METRICS:
                self.metrics.append(msgspec.json.decode(value, type=Metric))
            elif topic == ALERTS:
                alert = msgspec.json.decode(value, type=Alert)
                self.alerts.append(alert)
                ended_by = bisect_left(self._times_ms, alert.window_end_ms - 1 + self._behind_ms)
                if ended_by < len(self._sent_ms):
                    self.delays_ms.append(alert.emitted_at_ms - self._sent_ms[ended_by])

    def close(self) -> None:
        self._sender.close()
        self._reader.close()


def show(demo: DomainDemo) -> Path:
    """Run the domain on the stack, and write its page."""
    from cli.own_job import OwnJob
    from cli.report.opinion import OpinionPage, render_opinion
    from cli.report.writing import write_page
    from cli.topics import MONITOR_TOPICS
    from models.domains.opinion_figures import alert_figures

    console = demo.console
    stream = opinion_stream(SEED)
    with closing(OwnJob(replayed(demo.configuration), demo.stack, name="opinion", topics=MONITOR_TOPICS)) as job:
        job_id = job.start(say=console.print, job="monitor")
        console.print(f"Job {job_id} runs; {len(stream.posts):,} texts of {DAYS} days pass at {TEXTS_A_SECOND} a second.")
        with closing(Replay(job.configuration, stream)) as replay:
            said_s, shown = time.monotonic(), 0
            for sent, one in enumerate(replay.send()):
                for alert in replay.alerts[shown:]:
                    console.print(_line(alert))
                shown = len(replay.alerts)
                if isinstance(one, Post) and time.monotonic() - said_s > _LINE_EVERY_S:
                    said_s = time.monotonic()
                    console.print(f"{_day(one.text.event_time_ms)}: {sent:,} of {len(stream.posts) + len(stream.labels):,} sent")
            replay.end()
    figures = alert_figures(stream, replay.alerts)
    console.print(
        f"Alerts: precision {figures.precision:.2f}, recall {figures.recall:.2f} of {len(stream.surges)} surges; at most "
        f"{max(replay.delays_ms, default=0):,} ms after the text that ended the window."
    )
    page = OpinionPage(
        title="what is written about companies",
        stream=stream,
        metrics=replay.metrics,
        alerts=replay.alerts,
        figures=figures,
        delays_ms=replay.delays_ms,
    )
    return write_page(demo.pages("opinion"), render_opinion(page))


def replayed(configuration: Configuration) -> Configuration:
    """The configuration for texts of the past in one partition: they come in their order, and the clock ends no window."""
    return msgspec.structs.replace(
        configuration,
        kafka=msgspec.structs.replace(configuration.kafka, partitions=1),
        flink=msgspec.structs.replace(configuration.flink, checkpoint_interval_ms=2_000),
        monitor=msgspec.structs.replace(configuration.monitor, wall_clock=False),
    )


def _in_order(stream: OpinionStream) -> list[Post | TimedLabel]:
    both: list[Post | TimedLabel] = [*stream.posts, *stream.labels]
    return sorted(both, key=lambda one: one.time_ms if isinstance(one, TimedLabel) else one.text.event_time_ms)


def _line(alert: Alert) -> str:
    of = alert.topic if alert.entity is None else f"{alert.topic}, {alert.entity}"
    said = f"{_day(alert.window_end_ms)}: {alert.state} {alert.kind} of {of}: {alert.texts} texts, usual are {alert.expected_texts:.1f}"
    return said + (f"; such as {alert.examples[0].text!r}" if alert.examples else "")


def _day(time_ms: int) -> str:
    return time.strftime("%a %d %b %H:%M", time.gmtime(time_ms / 1_000))
