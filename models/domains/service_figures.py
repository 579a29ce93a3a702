"""What a service desk makes of its cases: the loop of question, answer and report, and the figures of docs/domains/service.md."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec
import numpy as np

from models.config import Configuration
from models.domains.service import DAY_MS, START_MS, Case, ServiceDesk
from models.events import Event
from models.pipeline import LocalPipeline
from models.requests import Request
from models.text.encoder import TextEncoder
from models.topics import CatalogueItem, Recommendation

PLACES = 3
_BINS = (0.2, 0.4, 0.6, 0.8)
_SPAN_DAYS = 5
_READING_MS = 60_000


class Desk(Protocol):
    """Answers questions, and is told what came of it."""

    def announce(self, item_id: str, item: CatalogueItem) -> None:
        """Take up a template."""

    def ask(self, request: Request) -> Recommendation:
        """Answer a question."""

    def report(self, event: Event) -> None:
        """Take what is said of an answer."""


class LocalDesk:
    """The job's objects in this process.

    Parameters
    ----------
    configuration : the whole configuration
    encoder : of texts, instead of the configured one
    learns : whether reports reach it; otherwise the loop is open
    """

    def __init__(self, configuration: Configuration, *, encoder: TextEncoder | None = None, learns: bool = True) -> None:
        self._pipeline = LocalPipeline(configuration, publish_every=1, encoder=encoder)
        self._learns = learns

    def announce(self, item_id: str, item: CatalogueItem) -> None:
        """Let it be in the catalogue."""
        self._pipeline.apply_catalogue(item_id, msgspec.json.encode(item))

    def ask(self, request: Request) -> Recommendation:
        """The slate as things stand."""
        return self._pipeline.answer(request)

    def report(self, event: Event) -> None:
        """Learn it, unless the loop is open."""
        if self._learns:
            self._pipeline.learn(event)


@dataclass(frozen=True, slots=True)
class Closed:
    """How one case went.

    Attributes
    ----------
    case : which
    answerable : whether a template answers it
    right : whether that template is among the first three that were answered or suggested
    confidence, hand_over : as the desk said; 1 where it said nothing of its confidence
    solved : the customer took the right answer without a person
    """

    case: Case
    answerable: bool
    right: bool
    confidence: float
    hand_over: bool
    solved: bool


def work(world: ServiceDesk, desk: Desk, *, days: int) -> Iterator[Closed]:
    """The cases of the first days, one after the other; the desk is told what comes of each."""
    written = -1
    for case in world.cases(days=days):
        day = (case.time_ms - START_MS) // DAY_MS
        while written < day:
            written += 1
            for item_id, item in world.catalogue(day=written):
                desk.announce(item_id, item)
        yield close(world, desk, case)


def close(world: ServiceDesk, desk: Desk, case: Case, *, reports: bool = True) -> Closed:
    """Ask the question of one case, and report what came of it."""
    answer = desk.ask(request_of(case))
    handled = world.handle(case, [item.item_id for item in answer.items], hands_over=answer.hand_over or not answer.items)
    if reports:
        for number, report in enumerate(handled.reports):
            desk.report(
                Event(
                    event_id=f"report {case.number}.{number}",
                    user_id=case.user_id,
                    item_id=report.item_id,
                    type=report.type,
                    event_time_ms=case.time_ms + (number + 1) * _READING_MS,
                    slate_id=answer.slate_id,
                )
            )
    listed = [item.item_id for item in (answer.items or answer.suggestions)[:PLACES]]
    return Closed(
        case=case,
        answerable=world.is_answerable(case),
        right=case.template in listed,
        confidence=1.0 if answer.confidence is None else answer.confidence,
        hand_over=answer.hand_over,
        solved=handled.solved_by is not None and handled.solved_by == case.template,
    )


def request_of(case: Case) -> Request:
    """The question of a case, as it comes to the job."""
    return Request(request_id=f"case {case.number}", user_id=case.user_id, event_time_ms=case.time_ms, text=case.text)


@dataclass(frozen=True, slots=True)
class ServiceFigures:
    """The figures of some cases; NaN where there is nothing to divide by.

    Attributes
    ----------
    top3 : share of the answerable cases whose template is among the first three
    solved : share of them that a customer solved without a person
    handed_over : share of all cases
    precision : share of what is handed over that none of the three answers would have solved
    recall : share of the cases without an answer that are handed over
    reliability : (mean confidence, share with a right answer, cases) of each fifth of the confidence that has cases
    """

    top3: float
    solved: float
    handed_over: float
    precision: float
    recall: float
    reliability: tuple[tuple[float, float, int], ...]

    @classmethod
    def of(cls, cases: Iterable[Closed]) -> ServiceFigures:
        """The figures of these cases."""
        closed = list(cases)
        answerable = np.array([one.answerable for one in closed], np.bool_)
        right = np.array([one.right for one in closed], np.bool_)
        over = np.array([one.hand_over for one in closed], np.bool_)
        confidence = np.array([one.confidence for one in closed])
        bins = np.digitize(confidence, _BINS)
        return cls(
            top3=_mean(right[answerable]),
            solved=_mean(np.array([one.solved for one in closed], np.bool_)[answerable]),
            handed_over=_mean(over),
            precision=_mean(~right[over]),
            recall=_mean(over[~answerable]),
            reliability=tuple(
                (_mean(confidence[bins == place]), _mean(right[bins == place]), int((bins == place).sum()))
                for place in range(len(_BINS) + 1)
                if (bins == place).any()
            ),
        )

    @property
    def calibration_error(self) -> float:
        """Mean distance of what was said and what happened, over the bins by their cases."""
        cases = sum(n for *_, n in self.reliability)
        return sum(n * abs(said - came) for said, came, n in self.reliability) / cases


def of_days(closed: Sequence[Closed], *, first: int, days: int = _SPAN_DAYS) -> ServiceFigures:
    """The figures of some days."""
    start_ms = START_MS + first * DAY_MS
    return ServiceFigures.of(one for one in closed if start_ms <= one.case.time_ms < start_ms + days * DAY_MS)


def examine(world: ServiceDesk, desk: Desk, *, day: int) -> list[Closed]:
    """Ask the questions that are kept apart; nothing is learned from them."""
    return [close(world, desk, case, reports=False) for case in world.kept_cases(day=day)]


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")
