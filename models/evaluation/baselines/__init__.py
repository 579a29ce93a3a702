"""What flinkrec is compared with: one recommender a file, found by `discover`."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from typing import Protocol, cast


class Baseline(Protocol):
    """A recommender that learns from a stream of events.

    It is made with ``repeats``: whether it may recommend to a user what the same user had; otherwise it never does. It
    recommends only items that were in the stream before, always k of them as long as there are so many, and the same
    ones for the same stream; asking it changes nothing.
    """

    title: str
    """Its name for people, such as ``last-item Markov``."""

    def __init__(self, *, repeats: bool) -> None: ...

    def learn_one(self, user_id: str, item_id: str, event_time_ms: int) -> None:
        """Take the next event of the stream."""

    def recommend(self, user_id: str, k: int) -> list[str]:
        """The k items that the user is likeliest to take next, the likeliest first; the user may be unknown."""

    def settings(self) -> str:
        """How it was run and what it left out, for people; what it left out depends on the stream so far."""


def discover() -> dict[str, type[Baseline]]:
    """Every baseline by the name of its module, in alphabetical order.

    Raises
    ------
    ModuleNotFoundError
        When a package of the extra ``evaluation`` is not installed.
    """
    return {module.name: _baseline_of(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)}


def _baseline_of(module_name: str) -> type[Baseline]:
    members = vars(importlib.import_module(module_name)).values()
    classes = (member for member in members if inspect.isclass(member) and member.__module__ == module_name)
    (found,) = (cast("type[Baseline]", member) for member in classes if hasattr(member, "recommend"))
    return found
