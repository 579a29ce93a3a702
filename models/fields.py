"""What values of several topics have in common: the types of some of their fields."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

Milliseconds = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Probability = Annotated[float, Meta(ge=0, le=1)]


class Reason(Struct, frozen=True, kw_only=True, gc=False):
    """Why an item was recommended.

    Attributes
    ----------
    kind : of reason, such as ``item_cf`` or ``popularity``
    item_id : the user's own item that caused it
    contribution : its part of the score of this kind; those of ``item_cf`` sum to the item's CF score
    """

    kind: str
    item_id: str | None = None
    contribution: float = 0.0
