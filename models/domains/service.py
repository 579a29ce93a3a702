"""The service desk of a shop: customers with questions, the templates that answer them, and what they say of the answers.

What is here is hidden from the recommender, except for the catalogue entries, the questions and the reports. Every draw is a function of
the seed and of what it is for. docs/domains/service.md is the specification, and says where the numbers of this file come from.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from models.domains.service_texts import TEMPLATES, UNANSWERED_ASKED, UNANSWERED_KEPT
from models.topics import CatalogueItem

DAY_MS = 86_400_000
START_MS = 1_704_067_200_000
"""1 January 2024, so that the days of the desk lie behind any clock."""

NEW_TEMPLATES, NEW_FROM_DAY = 12, 15
CASES_A_DAY = 60
_FAME = 0.7
_UNANSWERED = 0.2
_LOOKS = (1.0, 0.9, 0.8)
_RECOGNISES, _MISTAKES, _SAYS_NO, _GIVES_UP = 0.95, 0.02, 0.5, 0.2
_PERSON_USES_TEMPLATE = 0.7
_POLITE_BEFORE = ("hello, ", "hi, ", "good morning, ", "excuse me, ", "dear team, ", "quick question: ", "hey ", "")
_POLITE_AFTER = (" thanks", ", please", " thank you", ", please help", " many thanks in advance", "?", "??", "")
_ASIDE = ("i want to know ", "could you tell me ", "just wondering, ", "i ask because i am in a hurry: ")
_POLITE, _ASIDES, _TYPO = 0.5, 0.15, 0.3
_SHORTEST_MISTYPED = 5

# What a stream of draws is for.
_FAMES, _CASES, _REACTIONS, _KEPT = range(4)


@dataclass(frozen=True, slots=True)
class Case:
    """One question that somebody asks.

    Attributes
    ----------
    number : from 0
    user_id : who asks
    time_ms : event time
    text : in which words
    template : name of the template that answers it; None where none ever does
    """

    number: int
    user_id: str
    time_ms: int
    text: str
    template: str | None


@dataclass(frozen=True, slots=True)
class Report:
    """What is said of an answer: an event that names the slate.

    Attributes
    ----------
    type : solved, not_solved or handed_over
    item_id : which answer, `PERSON` where a person answered in words of their own
    """

    type: str
    item_id: str


PERSON = "person"


@dataclass(frozen=True, slots=True)
class Handled:
    """How a case went.

    Attributes
    ----------
    reports : in their order
    solved_by : the answer that the customer took without a person; None where a person was needed
    """

    reports: tuple[Report, ...]
    solved_by: str | None


class ServiceDesk:
    """Customers of a desk over some weeks.

    Parameters
    ----------
    seed : of every draw
    """

    def __init__(self, *, seed: int) -> None:
        self.seed = seed
        rng = np.random.default_rng((seed, _FAMES))
        order = rng.permutation(len(TEMPLATES))
        share = np.empty(len(TEMPLATES))
        share[order] = 1 / np.arange(1, len(TEMPLATES) + 1) ** _FAME
        self._share = share / share.sum()
        self._new = frozenset(TEMPLATES[place].name for place in rng.permutation(len(TEMPLATES))[:NEW_TEMPLATES].tolist())

    @property
    def new_templates(self) -> frozenset[str]:
        """Names of the templates that are written later."""
        return self._new

    def catalogue(self, *, day: int) -> list[tuple[str, CatalogueItem]]:
        """The templates that come on a day, by name."""
        if day not in (0, NEW_FROM_DAY):
            return []
        return [
            (template.name, CatalogueItem(title=template.title, text=template.text, categories=[template.category]))
            for template in TEMPLATES
            if (template.name in self._new) == (day == NEW_FROM_DAY)
        ]

    def is_answerable(self, case: Case) -> bool:
        """Whether there is a template by then that answers it."""
        if case.template is None:
            return False
        return case.template not in self._new or case.time_ms >= START_MS + NEW_FROM_DAY * DAY_MS

    def cases(self, *, days: int) -> Iterator[Case]:
        """What is asked, in the order of time."""
        for day in range(days):
            rng = np.random.default_rng((self.seed, _CASES, day))
            moments = np.sort(rng.integers(DAY_MS, size=CASES_A_DAY)).tolist()
            for place, moment in enumerate(moments):
                number = day * CASES_A_DAY + place
                if rng.random() < _UNANSWERED:
                    name, said = None, UNANSWERED_ASKED[rng.integers(len(UNANSWERED_ASKED))]
                else:
                    template = TEMPLATES[rng.choice(len(TEMPLATES), p=self._share)]
                    name, said = template.name, template.asked[rng.integers(len(template.asked))]
                yield Case(number, f"customer {number}", START_MS + day * DAY_MS + moment, varied(said, rng), name)

    def kept_cases(self, *, day: int) -> list[Case]:
        """The questions that are kept apart, each once, all asked at the beginning of a day."""
        rng = np.random.default_rng((self.seed, _KEPT))
        said: list[tuple[str | None, str]] = [(template.name, text) for template in TEMPLATES for text in template.kept]
        said += [(None, text) for text in UNANSWERED_KEPT]
        return [
            Case(number, f"tester {number}", START_MS + day * DAY_MS, varied(text, rng), name) for number, (name, text) in enumerate(said)
        ]

    def handle(self, case: Case, answers: Sequence[str], *, hands_over: bool) -> Handled:
        """What the customer, and the person behind the desk, make of a slate.

        Parameters
        ----------
        answers : ids by place; of no account where the desk hands over
        """
        rng = np.random.default_rng((self.seed, _REACTIONS, case.number))
        reports: list[Report] = []
        if not hands_over:
            for answer, looks in zip(answers, _LOOKS, strict=False):
                if rng.random() >= looks:
                    break
                taken = _RECOGNISES if answer == case.template else _MISTAKES
                if rng.random() < taken:
                    return Handled((*reports, Report("solved", answer)), answer)
                if rng.random() < _SAYS_NO:
                    reports.append(Report("not_solved", answer))
            if rng.random() < _GIVES_UP:
                return Handled(tuple(reports), None)
        if self.is_answerable(case) and rng.random() < _PERSON_USES_TEMPLATE:
            assert case.template is not None
            return Handled((*reports, Report("solved", case.template)), None)
        return Handled((*reports, Report("handed_over", PERSON)), None)


def varied(text: str, rng: np.random.Generator) -> str:
    """A question as somebody writes it: politely or not, with an aside, with a slip of the finger.

    Examples
    --------
    >>> varied("where is my order right now", np.random.default_rng(3))
    'where is my order right now'
    """
    if rng.random() < _ASIDES:
        text = _ASIDE[rng.integers(len(_ASIDE))] + text
    if rng.random() < _POLITE:
        text = _POLITE_BEFORE[rng.integers(len(_POLITE_BEFORE))] + text + _POLITE_AFTER[rng.integers(len(_POLITE_AFTER))]
    return _mistyped(text, rng) if rng.random() < _TYPO else text


def _mistyped(text: str, rng: np.random.Generator) -> str:
    """With two neighbouring letters of a long word swapped, or one left out."""
    words = text.split(" ")
    long = [place for place, word in enumerate(words) if len(word) >= _SHORTEST_MISTYPED]
    if not long:
        return text
    place = long[rng.integers(len(long))]
    word = words[place]
    at = int(rng.integers(1, len(word) - 2))
    swapped = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    words[place] = swapped if rng.random() < 0.5 else word[:at] + word[at + 1 :]
    return " ".join(words)
