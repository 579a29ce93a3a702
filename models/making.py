"""A slate in the making: what each step of it hands to the next (`models.slates`), and to whoever takes it apart (`models.tracing`)."""

from __future__ import annotations

import numpy as np
from msgspec import Struct

from models.auction.auction import Worth
from models.candidates import Candidates
from models.config import Strategy
from models.events import Event
from models.identity import item_hash64, slate_id
from models.policies.slots import Slot
from models.policies.state import Context
from models.requests import Request
from models.rules import SlateRules
from models.treatments import Treatment


class Wanted(Struct, frozen=True):
    """What is asked for.

    Attributes
    ----------
    cause : what the slate answers
    slate_id : a hash of the cause
    key : the same as a number: what the slate's random draws belong to
    k : items
    restrict, exclude : int64[n], hashes of the only items that may be shown, and of those that may not
    seeds : int64[m], hashes of the items that it goes on from instead of the user's own, the latest last
    is_judged : the user's next event judges it, and is an example of its candidates
    question : in words
    """

    cause: Event | Request
    slate_id: str
    key: int
    k: int
    restrict: np.ndarray | None = None
    exclude: np.ndarray | None = None
    seeds: np.ndarray | None = None
    is_judged: bool = True
    question: str | None = None

    @classmethod
    def by_event(cls, event: Event, *, k: int) -> Wanted:
        """The answer to an event."""
        name = slate_id(event.event_id, event.user_id)
        return cls(event, name, int(name, 16), k)

    @classmethod
    def by_request(cls, request: Request, *, k: int) -> Wanted:
        """The answer to a request; `k` where it does not say."""
        name = slate_id(f"request:{request.request_id}", request.user_id)
        return cls(
            request,
            name,
            int(name, 16),
            request.k or k,
            restrict=None if request.restrict is None else _hashes(request.restrict),
            exclude=_hashes(request.hidden) if request.hidden else None,
            seeds=_hashes(request.seed_items) if request.seed_items else None,
            is_judged=request.is_plain(k),
            question=request.text,
        )


class Act(Struct, frozen=True):
    """What the policy decided.

    Attributes
    ----------
    treatment, strategy : what the user is given
    action : name of the strategy
    probability : that it had
    context : what the policy knew of the user; None where nobody asks
    """

    treatment: Treatment
    strategy: Strategy
    action: str
    probability: float
    context: Context | None


class Scored(Struct, frozen=True):
    """The candidates by row, and what they are ranked by.

    Attributes
    ----------
    candidates : with what the sources know of them
    hashes : int64[n], of their ids
    matrix : float16[n, columns], frozen as the scorer saw it
    history : int64[m], hashes of the latest items that it read
    scores : float[n]
    probabilities : float32[n], None where the scorer predicts none
    worth : what campaigns or prices make of them, None without an auction
    """

    candidates: Candidates
    hashes: np.ndarray
    matrix: np.ndarray
    history: np.ndarray
    scores: np.ndarray
    probabilities: np.ndarray | None
    worth: Worth | None


class Layout(Struct, frozen=True):
    """Which rows stand where.

    Attributes
    ----------
    ranked : int64[m], rows that may be shown, the best first
    prices : int64[n], what the place of each row costs in millionths; None where nobody pays
    asked : what rules ask of this slate; None where none has to do with a slate
    listed : int64[k] or fewer, rows of the list before exploration
    pinned : bool[len(listed)], positions that a pin has; None without rules
    epsilon : probability with which a slot explored
    slots : by position, of rows
    rows : int64[len(slots)], those that are shown, by position
    """

    ranked: np.ndarray
    prices: np.ndarray | None
    asked: SlateRules | None
    listed: np.ndarray
    pinned: np.ndarray | None
    epsilon: float
    slots: list[Slot]
    rows: np.ndarray


def _hashes(item_ids: tuple[str, ...]) -> np.ndarray:
    return np.array([item_hash64(item_id) for item_id in item_ids], np.int64)
