"""The demo of the service desk: customers ask the job, what becomes of the answers teaches it, and a page shows what came of it.

The job runs on the local stack with the preset. Afterwards the preset, the preset with the loop open, and the products preset work through
the same cases in this process, and the kept questions are asked.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from cli.clients import EventSender, TopicReader
from cli.configuration import load_configuration
from cli.domains.registry import DEFAULT, DomainDemo, preset_path
from cli.errors import UserError
from cli.own_job import OwnJob
from models.topics import DEAD_LETTER, MODEL_UPDATES, RECOMMENDATIONS, Recommendation

if TYPE_CHECKING:
    from cli.report.service import Worked
    from cli.stack import Stack
    from models.config import Configuration
    from models.domains.service_figures import Closed, Desk
    from models.events import Event
    from models.requests import Request
    from models.topics import CatalogueItem

RUN_S = 60.0
"""How long customers ask the job."""
SEED, COMPARED_DAYS = 1, 10
_POLL_MS, _PATIENCE_S, _LINE_EVERY_S, _SHOWN_CASES = 5, 120.0, 5.0, 200
_decode = msgspec.json.Decoder(Recommendation).decode


class JobDesk:
    """The job on the local stack: questions go to `requests`, reports to `events`, and it waits for each answer.

    Parameters
    ----------
    configuration : of the job
    stack : that it runs on, in place of a job of the same name
    say : told what is going on until the job runs

    Attributes
    ----------
    latest : the answer that came last
    """

    def __init__(self, configuration: Configuration, stack: Stack, *, say: Callable[[str], None]) -> None:
        self._job, self._say = OwnJob(configuration, stack, name="service-desk"), say
        self._kafka = self._job.configuration.kafka
        self._sender = EventSender(self._kafka)
        self._reader: TopicReader | None = None
        self._announced = 0
        self.latest: Recommendation | None = None

    def announce(self, item_id: str, item: CatalogueItem) -> None:
        """Write a template to the catalogue."""
        self._sender.send_item(item_id, item)
        self._announced += 1

    def report(self, event: Event) -> None:
        """Write what was said of an answer."""
        self._sender.send(event)

    def ask(self, request: Request) -> Recommendation:
        """Ask, and wait for the answer.

        Raises
        ------
        UserError
            When the job refuses a record, or does not answer for two minutes.
        """
        if self._reader is None:
            self._start()
        assert self._reader is not None
        self._sender.send_request(request)
        until_s = time.monotonic() + _PATIENCE_S
        while time.monotonic() < until_s:
            for topic, value, _ in self._reader.poll(_POLL_MS):
                if topic == DEAD_LETTER:
                    raise UserError(f"the job refused a record of the desk: {value.decode()}")
                answer = _decode(value)
                if answer.request_id == request.request_id:
                    self.latest = answer
                    return answer
        raise UserError(f"no answer for {_PATIENCE_S:.0f} s: does the job run? `flinkrec status` tells")

    def _start(self) -> None:
        self._sender.flush()
        self._job.start(say=self._say)
        with closing(TopicReader(self._kafka, (MODEL_UPDATES,), from_beginning=True)) as updates:
            self._await_vectors(updates)
        self._reader = TopicReader(self._kafka, (RECOMMENDATIONS, DEAD_LETTER), at_once=True)

    def _await_vectors(self, updates: TopicReader) -> None:
        """A template is found as soon as its text is encoded, which takes the learn path some seconds for the first."""
        encoded, until_s = set[bytes](), time.monotonic() + _PATIENCE_S
        while len(encoded) < self._announced:
            encoded |= {key for key, _ in updates.poll_keyed(200) if key.startswith(b"vector:")}
            if time.monotonic() > until_s:
                raise UserError(f"only {len(encoded)} of {self._announced} templates were encoded within {_PATIENCE_S:.0f} s")

    def close(self) -> None:
        """End the job and delete its topics."""
        self._sender.close()
        if self._reader is not None:
            self._reader.close()
        self._job.close()


def show(demo: DomainDemo) -> Path:
    """Run the desk on the stack and in this process, and write its page.

    Returns
    -------
    Path of the page.
    """
    from cli.report.service import ServicePage, render_service
    from cli.report.writing import write_page

    closed, examples = _through_the_job(demo)
    page = ServicePage(closed=closed, examples=examples, compared=_compared(demo), days=COMPARED_DAYS, seed=SEED)
    return write_page(demo.pages("service"), render_service(page))


def _through_the_job(demo: DomainDemo) -> tuple[list[Closed], list[tuple[Closed, Recommendation]]]:
    """The cases of a minute, and the last of each kind with its answer: given, and handed over."""
    from models.domains.service import ServiceDesk
    from models.domains.service_figures import work

    world = ServiceDesk(seed=SEED)
    closed: list[Closed] = []
    examples: dict[bool, tuple[Closed, Recommendation]] = {}
    with closing(JobDesk(demo.configuration, demo.stack, say=demo.console.print)) as desk:
        ends_s = said_s = None
        for one in work(world, desk, days=365):
            now_s = time.monotonic()
            if ends_s is None or said_s is None:
                ends_s, said_s = now_s + RUN_S, now_s
            closed.append(one)
            assert desk.latest is not None
            if one.right or one.hand_over:
                examples[one.hand_over] = one, desk.latest
            if now_s - said_s > _LINE_EVERY_S:
                said_s = now_s
                demo.console.print(_line(closed))
            if now_s > ends_s:
                break
    demo.console.print(_line(closed))
    return closed, [examples[kind] for kind in sorted(examples)]


def _line(closed: Sequence[Closed]) -> str:
    from models.domains.service_figures import ServiceFigures

    last = ServiceFigures.of(closed[-_SHOWN_CASES:])
    shown = min(len(closed), _SHOWN_CASES)
    return (
        f"{len(closed):,} cases; of the last {shown}: right template in the top 3 {last.top3:.0%}, solved without a person "
        f"{last.solved:.0%}, handed over {last.handed_over:.0%}"
    )


def _compared(demo: DomainDemo) -> list[Worked]:
    import torch

    from cli.report.service import Worked
    from models.domains.service import CASES_A_DAY, ServiceDesk
    from models.domains.service_figures import LocalDesk, examine, work

    torch.set_num_threads(1)
    # it would refuse the reports of a desk: it is given the types that the desk has
    products = msgspec.structs.replace(load_configuration(preset_path(DEFAULT)), events=demo.configuration.events)
    worked = []
    with demo.console.status("comparing presets in this process"):
        for name, configuration, learns in (
            ("service", demo.configuration, True),
            ("service, learning nothing", demo.configuration, False),
            ("products", products, True),
        ):
            world = ServiceDesk(seed=SEED)
            desk: Desk = LocalDesk(configuration, learns=learns)
            closed = list(islice(work(world, desk, days=COMPARED_DAYS), COMPARED_DAYS * CASES_A_DAY))
            worked.append(Worked(name, closed, examine(world, desk, day=COMPARED_DAYS)))
    return worked
