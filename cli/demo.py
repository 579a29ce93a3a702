"""`flinkrec demo`: the whole system at work on this machine, from nothing to recommendations."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from cli.errors import UserError
from cli.replay import SPEED, parse_speed, shift_to_now_ms
from cli.submit import CONFIG

if TYPE_CHECKING:
    from cli.eventfiles import EventFile
    from cli.loop import Loop
    from cli.panel import Figures
    from cli.stack import Home, Stack
    from models.config import Configuration
    from models.topics import CatalogueItem

PREFIX = "demo-"
# Long enough to read a slate, short enough to see several users.
USER_SHOWN_S = 6.0
LINE_EVERY_S = 5.0


def demo(
    *,
    events: Annotated[Path | None, typer.Option(help="Events to replay; without it MovieLens 100K is fetched.")] = None,
    items: Annotated[Path | None, typer.Option(help="Items of these events, for titles and categories.")] = None,
    config: Annotated[Path | None, CONFIG] = None,
    user: Annotated[str | None, typer.Option(help="Show the slates of this user; otherwise of one after the other.")] = None,
    speed: Annotated[str, SPEED] = "max",
    stop: Annotated[bool, typer.Option("--stop", help="End the stack afterwards.")] = False,
) -> None:
    """Start everything, replay events through it, and show what it recommends.

    Starts Kafka and Flink, submits the job, and replays 100,000 film ratings in time order, each answered with
    recommendations. The stack is left running unless --stop is given.
    """
    from cli.cluster import submit_job
    from cli.eventfiles import read_events, read_items
    from cli.loop import EventSender, Loop
    from cli.movielens import movielens_100k
    from cli.stack import Home, Stack
    from cli.stack.preflight import require_for_run
    from cli.topics import create_topics
    from models.evaluation.prequential import PrequentialEvaluator

    began_s = time.monotonic()
    console = Console(highlight=False)
    home = Home.from_environment()
    pace = parse_speed(speed)
    if Stack.find(home) is None:
        require_for_run(str(home.root))
    with console.status("getting the events") as spinner:
        say = spinner.update if console.is_terminal else console.print
        if events is None:
            say("getting MovieLens 100K")
            events, items = movielens_100k(home.data)
        file = read_events(events)
        catalogue = {} if items is None else read_items(items)
        stack = Stack.start(home, progress=say)
        configuration = _fresh_topics(config, say)
        create_topics(configuration.kafka)
        sender = EventSender(configuration.kafka)
        sender.send_items(catalogue)
        sender.close()
        job_id = submit_job(configuration, progress=say)
    types = configuration.events.types
    loop = Loop(
        configuration.kafka,
        PrequentialEvaluator(configuration.slate.k),
        counts=lambda event: event.type in types and types[event.type].weight > 0,
        answers=lambda event: event.type not in types or types[event.type].makes_slate,
        shift_ms=shift_to_now_ms(file),
        events_per_s=pace,
    )
    console.print(f"Job {job_id} runs after {time.monotonic() - began_s:.0f} s; replaying {len(file):,} events.")
    loop.watched_user = user
    try:
        _replay(console, loop, file, configuration, _titles(catalogue), began_s=began_s, keep_user=user is not None)
    except KeyboardInterrupt:
        console.print("\nInterrupted; the stack and the job still run. End them with: flinkrec down")
        raise typer.Exit(130) from None
    finally:
        loop.close()
    _print_summary(console, loop, len(file), configuration, stack)
    if stop:
        stack.stop()
        console.print("The stack is down; topics, checkpoints and logs stay.")
    else:
        _print_whereabouts(console, configuration, home, loop)


def _fresh_topics(config: Path | None, say: object) -> Configuration:
    """The configuration on topics of this run's own, those of the last run deleted: its events would be duplicates."""
    import msgspec
    from kafka import KafkaAdminClient

    import conf
    from cli.cluster import Cluster
    from cli.configuration import load_configuration

    assert conf.__file__ is not None
    path = config or Path(conf.__file__).parent / "demo.yaml"
    configuration = load_configuration(path)
    cluster = Cluster(configuration.flink.jobmanager)
    for job_id in cluster.running_jobs(configuration.flink.job_name):
        cluster.cancel(job_id)
    admin = KafkaAdminClient(bootstrap_servers=configuration.kafka.bootstrap_servers.split(","))
    try:
        old = [topic for topic in admin.list_topics() if topic.startswith(PREFIX)]
        if old:
            admin.delete_topics(old)
    finally:
        admin.close()
    kafka = msgspec.structs.replace(configuration.kafka, topic_prefix=f"{PREFIX}{int(time.time())}-")
    return msgspec.structs.replace(configuration, kafka=kafka)


def _titles(catalogue: Mapping[str, CatalogueItem]) -> dict[str, str]:
    return {item_id: item.title for item_id, item in catalogue.items() if item.title}


def _replay(
    console: Console,
    loop: Loop,
    file: EventFile,
    configuration: Configuration,
    titles: dict[str, str],
    *,
    began_s: float,
    keep_user: bool,
) -> None:
    """Run the loop, showing it several times a second on a terminal, or a line every few seconds elsewhere."""
    from cli.panel import Figures

    shown_s = 0.0
    user_since_s = 0.0
    first = True
    with _display(console, titles) as show:
        for progress in loop.run(file.events(configuration.events.default_type)):
            now_s = time.monotonic()
            if first and progress.answered:
                first = False
                console.print(f"First recommendation {now_s - began_s:.0f} s after the start.")
            if not keep_user and progress.last is not None and now_s - user_since_s > USER_SHOWN_S:
                user_since_s = now_s
                loop.watched_user = progress.last.user_id
                progress.watched = progress.last
            if now_s - shown_s > (0.4 if console.is_terminal else LINE_EVERY_S):
                shown_s = now_s
                show(Figures(len(file), progress, loop.quality, configuration.slate.k))


@contextmanager
def _display(console: Console, titles: dict[str, str]) -> Iterator[object]:
    from rich.live import Live

    from cli.panel import progress_panel, quality_line

    if not console.is_terminal:
        yield lambda figures: console.print(quality_line(figures), soft_wrap=True)
        return
    with Live(console=console, auto_refresh=False) as live:
        yield lambda figures: live.update(progress_panel(figures, titles), refresh=True)


def _print_summary(console: Console, loop: Loop, total: int, configuration: Configuration, stack: Stack) -> None:
    from cli.panel import Figures, quality_line

    figures = Figures(total, loop.progress, loop.quality, configuration.slate.k)
    quality, progress, k = loop.quality, loop.progress, configuration.slate.k
    console.rule("summary")
    console.print(
        f"{progress.sent:,} events sent, {progress.answered:,} answered, {progress.dead_letters:,} dead letters, "
        f"at {progress.events_per_s:,.0f} events/s.\n"
        f"HR@{k} {quality.hr_at_k:.4f}   NDCG@{k} {quality.ndcg_at_k:.4f}   precision@{k} {quality.precision_at_k:.4f}   "
        f"recall@{k} {quality.recall_at_k:.4f}   F1@{k} {quality.f1_at_k:.4f}\n"
        f"coverage {quality.coverage:.4f}   average number of recommendations {quality.avg_recommendations:.2f}\n"
        f"event to recommendation, under this load: p50 {progress.latency_ms(0.5):.0f} ms, "
        f"p99 {progress.latency_ms(0.99):.0f} ms; RECOMMEND itself: {progress.median_compute_us():.0f} us an event",
        soft_wrap=True,
    )
    windows, hit_rate = _own_metrics(configuration)
    console.print(
        f"The job's own metrics: {windows:,} closed windows, HR@{k} {hit_rate:.4f} over them.", soft_wrap=True
    )


def _own_metrics(configuration: Configuration) -> tuple[int, float]:
    """How many windows the job has closed, and the hit rate over all of them."""
    import msgspec

    from models.topics import METRICS, Metric, topic_name
    from operators.bootstrap import read_to_end

    kafka = configuration.kafka
    name = topic_name(kafka.topic_prefix, METRICS)
    committed = {"isolation_level": "read_committed"}
    records = [value for _, _, value in read_to_end((name,), kafka.bootstrap_servers, committed) if value is not None]
    metrics = [msgspec.json.decode(value, type=Metric) for value in records]
    rates = [metric for metric in metrics if metric.metric == "hr_at_k" and metric.value is not None]
    evaluated = sum(metric.n for metric in rates)
    hits = sum((metric.value or 0.0) * metric.n for metric in rates)
    return len({metric.window_start_ms for metric in metrics}), hits / evaluated if evaluated else 0.0


def _print_whereabouts(console: Console, configuration: Configuration, home: Home, loop: Loop) -> None:
    from models.topics import RECOMMENDATIONS, topic_name

    kafka = configuration.kafka
    user = loop.progress.last.user_id if loop.progress.last else "ID"
    console.print(
        f"\nStill running:\n"
        f"  Flink          http://{configuration.flink.jobmanager}\n"
        f"  Kafka          {kafka.bootstrap_servers}, topics {topic_name(kafka.topic_prefix, RECOMMENDATIONS)}, ...\n"
        f"  logs           {home.logs}\n"
        f"  checkpoints    {home.checkpoints}\n"
        f"Next:\n"
        f"  flinkrec watch --user {user}      the slates of a user, as they change\n"
        f"  flinkrec replay --events FILE    send events of your own\n"
        f"  flinkrec status                  what runs\n"
        f"  flinkrec down                    end all of it",
        soft_wrap=True,
    )
