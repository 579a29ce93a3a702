"""The demo of a domain with people: its world reacts to the slates of the job, and a page shows what came of it.

The job runs on the local stack with the preset, as in `flinkrec simulate --engine flink`. Afterwards the preset and the products preset
run in this process, in the same worlds, and the page has both.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import takewhile
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.domains.registry import DEFAULT, Domain, DomainDemo, preset_path
from models.domains.comparison import DomainCourse

if TYPE_CHECKING:
    from cli.report.domain import PageSection
    from models.config import Configuration, Kafka
    from models.domains.comparison import Compared
    from models.simulation.loop import Seen
    from models.topics import Recommendation

RUN_S = 60.0
"""How long people react to the job."""
SEED = 1
COMPARED_SEEDS, COMPARED_SLATES = (1, 2, 3), 400
_IN_FLIGHT, _AHEAD_MS = 16, 600_000
_LINE_EVERY_S = 5.0
_SHOWN_SLATES = 500


Sections = Callable[[Any, "Kafka"], list["PageSection"]]
"""What a domain shows beside the ordinary, from its world and from the topics of the run, which are there until it has returned."""


def show(
    demo: DomainDemo,
    domain: Domain,
    *,
    headline: str,
    sections: Sections = lambda world, kafka: [],
    variants: Mapping[str, Configuration] | None = None,
    slates: int = COMPARED_SLATES,
    last_ms: float = inf,
) -> Path:
    """Run a domain on the stack and in this process, and write its page.

    Parameters
    ----------
    headline : the measure that the domain is about
    sections : of the page that are the domain's own
    variants : what is drawn beside the preset over time, by name
    slates : of each run in this process
    last_ms : event time after which nothing new comes into the world; the run through the job ends there at the latest

    Returns
    -------
    Path of the page.
    """
    from cli.report.domain import DomainPage, render_domain
    from cli.report.writing import write_page

    run = _through_the_job(demo, domain, headline=headline, sections=sections, last_ms=last_ms)
    page = DomainPage(
        domain=domain.name,
        title=domain.title,
        headline=headline,
        course=DomainCourse.of(run.seen),
        compared=_compared(demo, domain, slates=slates),
        against="the default configuration" if domain.name == DEFAULT else "the products preset",
        seeds=COMPARED_SEEDS,
        slates=slates,
        example=run.latest,
        titles=run.titles,
        sections=run.sections,
        variants=_courses(demo, domain, variants or {}, slates=slates),
    )
    return write_page(demo.pages(domain.name), render_domain(page))


@dataclass(frozen=True, slots=True)
class _Run:
    """What came of the job.

    Attributes
    ----------
    seen : what people made of its slates
    latest : the last slate that it made, None where it made none
    titles : of the items, by id
    sections : what the domain shows beside
    """

    seen: list[Seen]
    latest: Recommendation | None
    titles: Mapping[str, str]
    sections: list[PageSection]


def _through_the_job(demo: DomainDemo, domain: Domain, *, headline: str, sections: Sections, last_ms: float) -> _Run:
    """Let people react to the job for a while."""
    from cli.simulation.job import JobCompetitor
    from cli.watch import item_titles
    from models.simulation.loop import Crowd, closed_loop

    assert domain.world is not None
    console = demo.console
    seen: list[Seen] = []
    with closing(JobCompetitor(demo.configuration, demo.stack, name=domain.name, say=console.print)) as job:
        world = domain.world(SEED)
        loop = closed_loop(world, job, k=demo.configuration.slate.k, crowd=Crowd(_IN_FLIGHT, _AHEAD_MS))
        said_s = time.monotonic()
        for one in takewhile(lambda one: one.time_ms <= last_ms, _for_a_while(loop)):
            seen.append(one)
            if time.monotonic() - said_s > _LINE_EVERY_S:
                said_s = time.monotonic()
                console.print(_line(seen, headline))
        console.print(_line(seen, headline))
        return _Run(seen, job.latest(), item_titles(job.kafka), sections(world, job.kafka))


def _for_a_while(loop: Iterator[Seen]) -> Iterator[Seen]:
    """The slates of `RUN_S` seconds from the first on."""
    ends_s = None
    for one in loop:
        ends_s = time.monotonic() + RUN_S if ends_s is None else ends_s
        yield one
        if time.monotonic() > ends_s:
            return


def _line(seen: list[Seen], headline: str) -> str:
    course = DomainCourse.of(seen[-_SHOWN_SLATES:])
    names = [headline, *(name for name in course.measures if name != headline)]
    shown = "  ".join(f"{name.replace('_', ' ')} {course.mean(name):.3g}" for name in names)
    return f"{len(seen):,} slates seen; of the last {course.slates}: {shown}"


def _courses(
    demo: DomainDemo, domain: Domain, variants: Mapping[str, Configuration], *, slates: int
) -> dict[str, DomainCourse]:
    """Runs of other configurations in this process."""
    from models.domains.comparison import run_locally

    assert domain.world is not None
    found = {}
    for name, configuration in variants.items():
        with demo.console.status(f"comparing with {name}"):
            found[name] = run_locally(domain.world(SEED), configuration, slates=slates)
    return found


def _compared(demo: DomainDemo, domain: Domain, *, slates: int) -> list[Compared]:
    import torch

    from models.domains.comparison import compare

    assert domain.world is not None
    torch.set_num_threads(1)
    with demo.console.status("comparing presets in this process"):
        return compare(
            domain.world, demo.configuration, yardstick(domain.name), seeds=COMPARED_SEEDS, slates=slates
        )


def yardstick(name: str) -> Configuration:
    """What the preset of a domain is compared with: the products preset, and that one with the defaults."""
    from cli.configuration import load_configuration

    return load_configuration(None if name == DEFAULT else preset_path(DEFAULT))
