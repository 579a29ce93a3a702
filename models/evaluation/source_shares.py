"""Which candidate source brought what was shown and what was hit."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from models.evaluation.recorder import SourceCount


class SourceShare(Struct, frozen=True, kw_only=True):
    """What one source contributed; an item that several brought counts for each of them.

    Attributes
    ----------
    name : of the source
    shown, hits : items
    shown_share, hit_share : of everything shown, of all hits
    hit_rate : hits / shown
    standard_error : of it, items taken as independent
    hits_alone : hits that no other source brought
    """

    name: str
    shown: int
    hits: int
    shown_share: float
    hit_share: float
    hit_rate: float
    standard_error: float
    hits_alone: int


def source_shares(counts: Mapping[tuple[str, ...], SourceCount]) -> list[SourceShare]:
    """Contributions by source, the one with most hits first.

    Parameters
    ----------
    counts : of `models.evaluation.recorder.Recording`
    """
    all_shown = sum(count.shown for count in counts.values())
    all_hits = sum(count.hits for count in counts.values())
    found = []
    for name in {source for sources in counts for source in sources}:
        brought = {sources: count for sources, count in counts.items() if name in sources}
        shown = sum(count.shown for count in brought.values())
        hits = sum(count.hits for count in brought.values())
        alone = brought.get((name,))
        rate = hits / shown
        found.append(
            SourceShare(
                name=name,
                shown=shown,
                hits=hits,
                shown_share=shown / all_shown,
                hit_share=hits / all_hits if all_hits else 0.0,
                hit_rate=rate,
                standard_error=(rate * (1 - rate) / shown) ** 0.5,
                hits_alone=alone.hits if alone else 0,
            )
        )
    return sorted(found, key=lambda share: (-share.hits, share.name))
