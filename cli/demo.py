"""`flinkrec demo`: the whole system at work on this machine, from nothing to recommendations.

Each run has topics of its own, `demo-NUMBER-events` and so on, with the time of its start as the number: on the topics
of an earlier run its events would be duplicates. They stay until the next run, which deletes them.
"""

from __future__ import annotations

import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from cli.domains.registry import DOMAINS
from cli.errors import UserError
from cli.modelfile import MODEL, read_model
from cli.replay import SPEED, parse_speed, shift_to_now_ms

if TYPE_CHECKING:
    from cli.eventfiles import EventFile
    from cli.loop import Loop
    from cli.panel import Figures
    from cli.stack import Home, Stack
    from models.config import Configuration
    from models.topics import CatalogueItem, Metric

# Long enough to read a slate, short enough to see several users.
USER_SHOWN_S = 6.0
PANEL_EVERY_S = 0.4
LINE_EVERY_S = 5.0
INTERRUPTED = 130
SERVER = "serve"
# where the configuration leaves it open
DEFAULT_PORT = 8080
CONSOLE_WITHIN_S = 60.0

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a run begins with.

    Attributes
    ----------
    file, catalogue : what is replayed
    configuration : as given, without the run's own topics
    model : file of `flinkrec train` to begin with
    began_s : monotonic time of the start of the command
    """

    file: EventFile
    catalogue: dict[str, CatalogueItem]
    configuration: Configuration
    model: Path | None
    began_s: float


@dataclass(slots=True)
class Run:
    """One run of the demo, as far as it has come.

    Attributes
    ----------
    file, titles : what is replayed, and titles by item id
    configuration : with the run's own topics, on the local stack
    job_id : of the submitted job
    console : address of the console
    began_s, first_s : monotonic time of the start of the command and of the first recommendation
    """

    file: EventFile
    titles: Mapping[str, str]
    configuration: Configuration
    job_id: str
    console: str
    began_s: float
    first_s: float | None = None


def demo(
    *,
    events: Annotated[Path | None, typer.Option(help="Events to replay; without it MovieLens 100K is fetched.")] = None,
    items: Annotated[Path | None, typer.Option(help="Items of these events, for titles and categories.")] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="YAML file of the configuration; without it conf/demo.yaml. Kafka and Flink are those of the local stack."),
    ] = None,
    user: Annotated[str | None, typer.Option(help="Show the slates of this user; otherwise of one after the other.")] = None,
    speed: Annotated[str, SPEED] = "max",
    model: Annotated[Path | None, MODEL] = None,
    domain: Annotated[str | None, typer.Option(help="Show this domain instead, with its preset and its people: "
        f"{', '.join(DOMAINS)}; help lists them.")] = None,
    stop: Annotated[bool, typer.Option("--stop", help="End the stack afterwards.")] = False,
) -> None:
    """Start everything, replay events through it, and show what it recommends.

    Starts Kafka and Flink unless they are up, submits the job in place of one that runs there, opens the console, and replays
    100,000 film ratings in time order, each answered with recommendations. All is left running unless --stop is given.

    With --domain the job runs with the preset of a domain, conf/domains/NAME.yaml, and made-up people react to what it recommends;
    at the end a page compares the preset with that of a shop. The job ends with it, the stack is left running.
    """
    from cli.stack import Home
    from cli.stack.timeslice import lengthen_time_slices

    lengthen_time_slices()  # its client has the cores in common with the stack
    if domain is not None:
        given = {"--events": events, "--items": items, "--config": config, "--user": user, "--model": model}
        _demo_of(domain, stop=stop, without=[option for option, value in given.items() if value is not None])
        return
    if items is not None and events is None:
        raise UserError("--items needs --events: without it both are those of MovieLens 100K")
    # What is printed holds titles, ids and paths: never markup.
    console = Console(highlight=False, markup=False, soft_wrap=True)
    home = Home.from_environment()
    pace = parse_speed(speed)
    try:
        inputs = _inputs(console, home, events=events, items=items, config=config, user=user, model=model)
        try:
            run = _start(console, home, inputs)
            loop = _loop(run, pace)
            try:
                _replay(console, loop, run, user=user)
            finally:
                loop.close()
            _print_summary(console, loop, run)
            if not stop:
                _await_console(console, run, home)
                _print_whereabouts(console, loop, run, home)
        finally:
            if stop:
                _stop(console, home)
    except KeyboardInterrupt:
        console.print(f"\nInterrupted. {_still_running(home)}")
        raise typer.Exit(INTERRUPTED) from None


def _demo_of(name: str, *, stop: bool, without: list[str]) -> None:
    """The demo of a domain, and where its page is."""
    from cli.configuration import load_configuration
    from cli.domains.registry import DomainDemo, find_domain, listed
    from cli.report.preflight import require_page
    from cli.stack import Home, Stack
    from cli.stack.preflight import require_for_run

    console = Console(highlight=False, markup=False, soft_wrap=True)
    if name == "help":
        console.print(f"Domains of --domain:\n{listed()}")
        return
    domain = find_domain(name)
    if without:
        raise UserError(f"{without[0]} is no option of --domain: a domain brings its own people, catalogue and preset")
    home = Home.from_environment()
    require_page(home.root, option="--domain")
    if Stack.find(home) is None:
        require_for_run(str(home.root))
    try:
        try:
            with console.status("starting the local stack") as spinner:
                stack = Stack.start(home, progress=spinner.update if console.is_terminal else console.print)
            page = domain.run(DomainDemo(console, home, stack, load_configuration(domain.preset)))
        finally:
            if stop:
                _stop(console, home)
    except KeyboardInterrupt:
        console.print(f"\nInterrupted. {_still_running(home)}")
        raise typer.Exit(INTERRUPTED) from None
    console.print(f"The page is {page}.")


# ------------------------------------------------------------------------------------------------ from nothing to a job


def _inputs(
    console: Console,
    home: Home,
    *,
    events: Path | None,
    items: Path | None,
    config: Path | None,
    user: str | None,
    model: Path | None,
) -> Inputs:
    """Check and read everything that a person may have to mend, before anything is started."""
    from cli.configuration import load_configuration
    from cli.eventfiles import read_events, read_items
    from cli.movielens import movielens_100k
    from cli.stack import Stack
    from cli.stack.preflight import require_for_run

    began_s = time.monotonic()
    if Stack.find(home) is None:
        require_for_run(str(home.root))
    configuration = load_configuration(config or _demo_yaml())
    read_model(model, configuration)
    if events is None:
        with console.status("getting MovieLens 100K"):
            events, items = movielens_100k(home.data)
        console.print(f"MovieLens 100K is in {home.data}.")
    file = read_events(events)
    if user is not None and user not in file.user_ids:
        raise UserError(f"--user: no event of {events} is of user {user!r}")
    return Inputs(file, {} if items is None else read_items(items), configuration, model, began_s)


def _start(console: Console, home: Home, inputs: Inputs) -> Run:
    """Everything until the job runs: the stack, topics of this run's own, the items in their topic, the job."""
    from cli.clients import EventSender
    from cli.cluster import await_job, start_job
    from cli.stack import Stack
    from cli.topics import create_topics

    with console.status("starting the local stack") as spinner:
        say: Say = spinner.update if console.is_terminal else console.print
        stack = Stack.start(home, progress=say)
        configuration = _own_topics(inputs.configuration, stack, say)
        create_topics(configuration.kafka)
        sender = EventSender(configuration.kafka)
        sender.send_items(inputs.catalogue)
        sender.close()
        job_id = start_job(configuration, progress=say, model=inputs.model)
        # while the tasks start: it would take its time from the first events
        address = _serve(stack, configuration)
        await_job(configuration, job_id, progress=say)
    file, began_s = inputs.file, inputs.began_s
    console.print(f"Job {job_id} runs after {time.monotonic() - began_s:.0f} s; replaying {len(file):,} events.")
    console.print(f"Watch it, and act as a user, on {address} (it opens in some seconds).")
    return Run(file, _titles(inputs.catalogue), configuration, job_id, address, began_s)


def _serve(stack: Stack, configuration: Configuration) -> str:
    """Start `flinkrec serve` beside the job, on the configured port or the next free one; returns the console's address."""
    from cli.stack.ports import next_free_port

    wanted = configuration.serving.port or DEFAULT_PORT
    port = next_free_port(wanted)
    if port is None:
        raise UserError(f"ports {wanted} and after are in use: choose another as serving.port in a file for --config")
    command = [sys.executable, "-m", "cli.main", "serve", "--host", "127.0.0.1", "--port", str(port)]
    stack.run_beside(SERVER, command)
    return f"http://127.0.0.1:{port}/console/"


def _demo_yaml() -> Path:
    import conf

    assert conf.__file__ is not None
    return Path(conf.__file__).parent / "demo.yaml"


def _own_topics(configuration: Configuration, stack: Stack, say: Say) -> Configuration:
    """The configuration on the local stack and on topics of its own; job and topics of the last run are removed."""
    from kafka import KafkaAdminClient

    from cli.cluster import Cluster
    from cli.configuration import on_own_topics
    from cli.topics import JOB_TOPICS

    cluster = Cluster(stack.jobmanager)
    for job_id in cluster.running_jobs(configuration.flink.job_name):
        say("ending the job that runs")
        cluster.cancel(job_id)
    # nothing but what an earlier run has made: `demo-shop-events` is somebody's own
    ours = re.compile(rf"demo-\d+-({'|'.join(JOB_TOPICS)})")
    admin = KafkaAdminClient(bootstrap_servers=stack.bootstrap_servers)
    try:
        old = [topic for topic in admin.list_topics() if ours.fullmatch(topic)]
        if old:
            say("deleting the topics of the last run")
            admin.delete_topics(old)
    finally:
        admin.close()
    stack.end_beside(SERVER)
    for store in stack.home.serving.glob("demo-*"):
        if ours.fullmatch(store.name):
            shutil.rmtree(store)
    return on_own_topics(configuration, stack, prefix=f"demo-{time.time_ns() // 1_000_000_000}-")


def _titles(catalogue: Mapping[str, CatalogueItem]) -> dict[str, str]:
    return {item_id: item.title for item_id, item in catalogue.items() if item.title}


# ------------------------------------------------------------------------------------------------ the replay


def _loop(run: Run, pace: float | None) -> Loop:
    from cli.loop import Loop

    return Loop(run.configuration, shift_ms=shift_to_now_ms(run.file), events_per_s=pace)


def _replay(console: Console, loop: Loop, run: Run, *, user: str | None) -> None:
    """Run the loop, showing it several times a second on a terminal, or a line every few seconds elsewhere."""
    from cli.panel import Figures

    loop.watched_user = user
    shown_s = user_since_s = 0.0
    with _display(console, run.titles, user) as show:
        for progress in loop.run(run.file.events(run.configuration.events.default_type)):
            now_s = time.monotonic()
            if run.first_s is None and progress.last is not None:
                run.first_s = now_s
                console.print(f"First recommendation {now_s - run.began_s:.0f} s after the start.")
            if user is None and progress.last is not None and now_s - user_since_s > USER_SHOWN_S:
                user_since_s = now_s
                loop.watched_user = progress.last.user_id
                progress.watched = progress.last
            if now_s - shown_s > (PANEL_EVERY_S if console.is_terminal else LINE_EVERY_S):
                shown_s = now_s
                show(Figures(len(run.file), progress, loop.quality, run.configuration.slate.k))
        show(Figures(len(run.file), loop.progress, loop.quality, run.configuration.slate.k))


@contextmanager
def _display(console: Console, titles: Mapping[str, str], user: str | None) -> Iterator[Callable[[Figures], object]]:
    from rich.live import Live

    from cli.panel import progress_panel, quality_line

    if not console.is_terminal:
        yield lambda figures: console.print(quality_line(figures))
        return
    with Live(console=console, auto_refresh=False) as live:
        yield lambda figures: live.update(progress_panel(figures, titles, user=user), refresh=True)


# ------------------------------------------------------------------------------------------------ the end


def _print_summary(console: Console, loop: Loop, run: Run) -> None:
    from cli.panel import slate_table

    quality, progress, k = loop.quality, loop.progress, run.configuration.slate.k
    seconds = progress.finished_s - progress.started_s
    console.rule("summary")
    # on a terminal it is still there, in the panel above
    if progress.watched is not None and not console.is_terminal:
        console.print(slate_table(progress.watched, run.titles))
        console.print()
    console.print(
        f"{progress.sent:,} events sent, {progress.answered:,} answered, {progress.dead_letters:,} dead letters, in "
        f"{seconds:,.0f} s: {progress.events_per_s:,.0f} events/s.\n"
        f"{quality.evaluated:,} of them tested the slate that their user had been given before:\n"
        f"  HR@{k} {quality.hr_at_k:.4f}   NDCG@{k} {quality.ndcg_at_k:.4f}   coverage {quality.coverage:.4f}\n"
        f"  precision@{k} {quality.precision_at_k:.4f}   recall@{k} {quality.recall_at_k:.4f}   "
        f"F1@{k} {quality.f1_at_k:.4f}\n"
        f"  average number of recommendations {quality.avg_recommendations:.2f}\n"
        f"Event to recommendation under this load: p50 {progress.latency_ms(0.5):,.0f} ms, "
        f"p99 {progress.latency_ms(0.99):,.0f} ms;\n"
        f"  RECOMMEND itself took {progress.median_compute_us():,.0f} us an event (median)."
    )
    if run.first_s is not None:
        console.print(f"First recommendation: {run.first_s - run.began_s:.0f} s after the start of this command.")
    with console.status("waiting for the checkpoint that commits the job's metrics"):
        metrics = _committed_metrics(run, shift_ms=loop.shift_ms)
    console.print(_own_figures(metrics, run))


def _committed_metrics(run: Run, *, shift_ms: int) -> list[Metric]:
    """What the job has written to `metrics`, once the last window that these events close is there.

    A window is written when the watermark has passed it, and can be read after the checkpoint that follows.
    """
    import msgspec

    from cli.clients import TopicReader
    from models.topics import METRICS, Metric

    config = run.configuration
    window_ms = config.metrics.window_s * 1000
    times_ms = run.file.event_time_ms + shift_ms
    ends_ms = (times_ms // window_ms + 1) * window_ms
    closed_ms = ends_ms[ends_ms <= times_ms[-1]]
    reader = TopicReader(config.kafka, (METRICS,), from_beginning=True, committed=True)
    metrics: list[Metric] = []
    deadline = time.monotonic() + 2 * config.flink.checkpoint_interval_ms / 1000 + 10
    try:
        while len(closed_ms) and time.monotonic() < deadline:
            metrics += [msgspec.json.decode(value, type=Metric) for _, value, _ in reader.poll(500)]
            if any(metric.window_end_ms == closed_ms[-1] for metric in metrics) and reader.is_at_end():
                break
    finally:
        reader.close()
    return metrics


def _own_figures(metrics: list[Metric], run: Run) -> str:
    """The job's own metrics over all windows together, weighted by what each was computed from."""
    from models.topics import METRICS, topic_name

    config = run.configuration
    topic = topic_name(config.kafka.topic_prefix, METRICS)
    everything = [metric for metric in metrics if metric.slice == "all" and metric.value is not None]
    if not everything:
        return f"The job's own metrics (topic {topic}):\n  no window of {config.metrics.window_s} s is closed yet."
    windows = {metric.window_start_ms for metric in everything}
    events = sum(metric.value or 0.0 for metric in everything if metric.metric == "events")
    said = (
        f"The job's own metrics (topic {topic}):\n"
        f"  {len(windows):,} closed windows of {config.metrics.window_s} s with {events:,.0f} events"
    )
    for name, label in (("hr_at_k", "HR"), ("ndcg_at_k", "NDCG")):
        rates = [metric for metric in everything if metric.metric == name]
        evaluated = sum(metric.n for metric in rates)
        if evaluated:
            mean = sum((metric.value or 0.0) * metric.n for metric in rates) / evaluated
            said += f", {label}@{config.slate.k} {mean:.4f}"
    return f"{said}."


def _await_console(console: Console, run: Run, home: Home) -> None:
    """Nobody is sent to an address where nothing answers yet; beside a replay on few cores the server takes a while."""
    import httpx

    from serving.direct import direct_client

    with console.status("waiting for the console"), direct_client(timeout_s=2.0) as client:
        deadline = time.monotonic() + CONSOLE_WITHIN_S
        while time.monotonic() < deadline:
            try:
                if client.get(run.console).is_success:
                    return
            except httpx.HTTPError:
                time.sleep(0.2)
    console.print(f"The console has not answered yet: its output is in {home.logs / SERVER}.out.")


def _print_whereabouts(console: Console, loop: Loop, run: Run, home: Home) -> None:
    from cli.topics import JOB_TOPICS

    kafka = run.configuration.kafka
    user = loop.watched_user or (loop.progress.last.user_id if loop.progress.last else "ID")
    names = ", ".join(JOB_TOPICS)
    console.print(
        f"\nStill running:\n"
        f"  console        {run.console}\n"
        f"  Flink          http://{run.configuration.flink.jobmanager}, job {run.job_id}\n"
        f"  Kafka          {kafka.bootstrap_servers}\n"
        f"  topics         {kafka.topic_prefix}NAME, which the next demo deletes; NAME is one of\n"
        f"                 {names}\n"
        f"  configuration  {home.deployment / 'config.yaml'}\n"
        f"  checkpoints    {home.checkpoints}\n"
        f"  logs           {home.logs}\n"
        f"Next:\n"
        f"  {run.console + 'user':<33} act as a user, and see the slate change\n"
        f"  flinkrec {f'watch --user {user}':<24} the slates of a user, as they change\n"
        f"  flinkrec replay --events FILE     send events of your own to this job\n"
        f"  flinkrec status                   what runs\n"
        f"  flinkrec down                     end all of it"
    )


def _still_running(home: Home) -> str:
    from cli.cluster import Cluster
    from cli.stack import Stack

    stack = Stack.find(home)
    if stack is None:
        return "Nothing is running."
    try:
        jobs = Cluster(stack.jobmanager).running_jobs()
    except UserError:
        jobs = []
    what = f"the stack and job {', '.join(jobs)} still run" if jobs else "the stack still runs"
    return f"{what[0].upper()}{what[1:]}, on http://{stack.jobmanager}; end them with: flinkrec down"


def _stop(console: Console, home: Home) -> None:
    from cli.stack import Stack

    stack = Stack.find(home)
    if stack is not None:
        with console.status("ending the stack"):
            stack.stop()
        console.print(f"The stack is down; topics, checkpoints and logs stay in {home.root}.")
