"""Reads event and item files for `evaluate` and `replay`: CSV, TSV and Parquet, plain or gzipped.

Events need the columns `user_id, item_id, timestamp` and may have `type` and `value` (or `rating`); items need
`item_id` and may have `title, year, categories, tags, brand, price, text`, lists split by `|`. Other columns are
ignored. RecBole's headers (`user_id:token`) are understood: the part after the colon goes, their files know no quotes,
and lists (`token_seq`) are split by spaces. Ids are texts, so that 007 stays 007.

Files are read in columns by pyarrow. Only when something is wrong is a delimited file read a second time, by Python's
csv module, to find the line that a person has to look at.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, NoReturn, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from cli.errors import UserError
from models.catalogue import MAX_ITEM_ID_BYTES
from models.events import VALUE_MAX, Event
from models.topics import MAX_LABELS, CatalogueItem

if TYPE_CHECKING:
    import _csv

    import numpy.typing as npt

ITEM_TEXTS = ("title", "brand", "text")
ITEM_LISTS = ("categories", "tags")


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The columns that are read: those a file must have, those it may have, and other names for them."""

    required: tuple[str, ...]
    optional: tuple[str, ...]
    aliases: dict[str, str]


_EVENT_COLUMNS = _Wanted(("user_id", "item_id", "timestamp"), ("type", "value"), {"rating": "value"})
_ITEM_COLUMNS = _Wanted(
    ("item_id",),
    (*ITEM_TEXTS, *ITEM_LISTS, "year", "price"),
    {"movie_title": "title", "release_year": "year", "class": "categories"},
)

MILLISECONDS_FROM = 1e11
"""Timestamps from here on are milliseconds (March 1973 on), those below are seconds (up to the year 5138)."""
MICROSECONDS_FROM = 1e14

_PLAIN_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_SUFFIXES = re.compile(r"(\.(csv|tsv|txt|inter|parquet|pq))?(\.gz)?$", re.IGNORECASE)
_CONTROL = r"[\x00-\x1f\x7f]"
_MOST_YEAR = 2**31 - 1
_BLOCK_BYTES = 16 * 1024 * 1024  # bounds one row: a quoted text must fit into a block


class EventFileError(UserError):
    """A file that cannot be used, said in one sentence.

    Parameters
    ----------
    file : its path
    place : where in it, such as ``line 7``; empty for the file as a whole
    expected, got : what would have been accepted, and what was found
    """

    def __init__(self, *, file: Path, place: str = "", expected: str, got: str) -> None:
        where = f"{file}, {place}" if place else str(file)
        super().__init__(f"{where}: expected {expected}, got {got}")
        self.file, self.place, self.expected, self.got = file, place, expected, got


@dataclass(frozen=True, slots=True, eq=False)
class EventFile:
    """The events of a file in columns, by time; events of the same millisecond keep the order of the file.

    Attributes
    ----------
    user_ids, item_ids : n texts each, equal ones being the same object
    event_time_ms : int64, shape (n,)
    types : n texts, empty where the file has none; None without the column
    values : float64, shape (n,), NaN where the file has none; None without the column
    time_unit : what the timestamps of the file were taken for, ``seconds`` or ``milliseconds``
    path : the file
    """

    user_ids: list[str]
    item_ids: list[str]
    event_time_ms: npt.NDArray[np.int64]
    types: list[str] | None
    values: npt.NDArray[np.float64] | None
    time_unit: str
    path: Path

    def __len__(self) -> int:
        return len(self.user_ids)

    def last(self, n: int) -> EventFile:
        """The last n events, all of them where there are not more."""
        return replace(
            self,
            user_ids=self.user_ids[-n:],
            item_ids=self.item_ids[-n:],
            event_time_ms=self.event_time_ms[-n:],
            types=None if self.types is None else self.types[-n:],
            values=None if self.values is None else self.values[-n:],
        )

    def events(self, default_type: str = "view") -> Iterator[Event]:
        """The events in order, named ``<file>-<n>`` with n from 1: the same file gives the same ids."""
        stem = _SUFFIXES.sub("", self.path.name) or "events"
        times = self.event_time_ms.tolist()
        values = None if self.values is None else self.values.tolist()
        for row, (user_id, item_id, event_time_ms) in enumerate(zip(self.user_ids, self.item_ids, times, strict=True)):
            value = None if values is None or values[row] != values[row] else values[row]
            event_type = (self.types[row] if self.types else "") or default_type
            yield Event(f"{stem}-{row + 1}", user_id, item_id, event_type, event_time_ms, value)


def read_events(path: Path) -> EventFile:
    """Read an event file.

    Parameters
    ----------
    path : a CSV or TSV file, or a Parquet file when its name says so; `.gz` behind either

    Raises
    ------
    EventFileError
        When it cannot be read, a column is missing, or a row has an empty id or no usable timestamp or value; it names
        the line.
    """
    table = _read_table(path, _EVENT_COLUMNS)
    if table.rows == 0:
        raise EventFileError(file=path, expected="at least one event", got="only a header")
    user_ids, item_ids = _ids(table, "user_id"), _ids(table, "item_id")
    event_time_ms, time_unit = _times(table)
    values = _numbers(table, "value", most=VALUE_MAX) if "value" in table.columns else None
    types = _shared_texts(table.columns["type"]) if "type" in table.columns else None
    if (np.diff(event_time_ms) < 0).any():
        order = np.argsort(event_time_ms, kind="stable")
        event_time_ms = event_time_ms[order]
        values = None if values is None else values[order]
        rows = order.tolist()
        user_ids, item_ids = [user_ids[row] for row in rows], [item_ids[row] for row in rows]
        types = None if types is None else [types[row] for row in rows]
    return EventFile(user_ids, item_ids, event_time_ms, types, values, time_unit, path)


def read_items(path: Path) -> dict[str, CatalogueItem]:
    """Read an item file; of an item given twice the last row counts, as on the compacted topic.

    Raises
    ------
    EventFileError
        As `read_events`, and for a year or a price that is none.
    """
    table = _read_table(path, _ITEM_COLUMNS)
    item_ids = _ids(table, "item_id", most_bytes=MAX_ITEM_ID_BYTES)
    texts = {name: _texts(table, name) for name in ITEM_TEXTS}
    lists = {name: _lists(table, name) for name in ITEM_LISTS}
    years = _numbers(table, "year", whole=True, most=_MOST_YEAR)
    prices = _numbers(table, "price", least=0.0)
    return {
        item_id: CatalogueItem(
            item_id=item_id,
            title=texts["title"][row],
            brand=texts["brand"][row],
            text=texts["text"][row],
            categories=lists["categories"][row],
            tags=lists["tags"][row],
            year=None if np.isnan(years[row]) else int(years[row]),
            price=None if np.isnan(prices[row]) else float(prices[row]),
        )
        for row, item_id in enumerate(item_ids)
    }


@dataclass(frozen=True, slots=True, eq=False)
class _Table:
    """Columns of texts (or lists of texts, from Parquet) by their own name, and how to say where a row stands."""

    path: Path
    rows: int
    columns: dict[str, pa.Array]
    place: Callable[[int], str]
    list_separator: str | None


def _ids(table: _Table, name: str, *, most_bytes: int | None = None) -> list[str]:
    column = pc.utf8_trim_whitespace(table.columns[name])
    if most_bytes is not None:
        _refuse_first(table, pc.greater(pc.binary_length(column), most_bytes), name, f"at most {most_bytes} bytes long", column)
    _refuse_first(table, pc.equal(column, ""), name, "a non-empty id", column)
    _refuse_first(table, pc.match_substring_regex(column, _CONTROL), name, "an id without control characters", column)
    return _shared_texts(column)


def _shared_texts(column: pa.Array) -> list[str]:
    encoded = column.dictionary_encode()
    texts = [text.strip() for text in encoded.dictionary.to_pylist()]
    return [texts[index] for index in encoded.indices.to_pylist()]


def _texts(table: _Table, name: str) -> list[str | None]:
    if name not in table.columns:
        return [None] * table.rows
    return [text.strip() or None for text in table.columns[name].to_pylist()]


def _lists(table: _Table, name: str) -> list[list[str]]:
    if name not in table.columns:
        return [[]] * table.rows
    column = table.columns[name]
    is_list = _is_list(column.type)
    values = column.to_pylist() if is_list else [text.split(table.list_separator) for text in column.to_pylist()]
    found = [[part.strip() for part in parts or [] if part and part.strip()] for parts in values]
    for row, parts in enumerate(found):
        if len(parts) > MAX_LABELS:
            raise EventFileError(file=table.path, place=table.place(row), expected=f"at most {MAX_LABELS} {name}", got=str(len(parts)))
    return found


def _times(table: _Table) -> tuple[npt.NDArray[np.int64], str]:
    if pa.types.is_timestamp(table.columns["timestamp"].type):
        return _instants(table), "milliseconds"
    column = pc.utf8_trim_whitespace(table.columns["timestamp"])
    numbers = _parsed(table, "timestamp", column)
    _refuse_first(table, pa.array(numbers < 0), "timestamp", "a time since 1970", column)
    too_large = pa.array(numbers >= MICROSECONDS_FROM)
    _refuse_first(table, too_large, "timestamp", "seconds or milliseconds since 1970", column)
    in_milliseconds = numbers >= MILLISECONDS_FROM
    if not in_milliseconds.any():
        return np.rint(numbers * 1000).astype(np.int64), "seconds"
    seconds = pa.array(~in_milliseconds)
    _refuse_first(table, seconds, "timestamp", "milliseconds since 1970, as in other rows", column)
    return np.rint(numbers).astype(np.int64), "milliseconds"


def _instants(table: _Table) -> npt.NDArray[np.int64]:
    """Milliseconds since 1970 of a Parquet column whose type says what its numbers mean."""
    column = table.columns["timestamp"]
    _refuse_first(table, column.is_null(), "timestamp", "a time", column)
    found: npt.NDArray[np.int64] = column.cast(pa.timestamp("ms"), safe=False).cast(pa.int64()).to_numpy()
    _refuse_first(table, pa.array(found < 0), "timestamp", "a time since 1970", column)
    return found


def _numbers(
    table: _Table, name: str, *, whole: bool = False, least: float | None = None, most: float = np.inf
) -> npt.NDArray[np.float64]:
    """A column of numbers, NaN where it is empty; `least` is minus `most` where it is not given."""
    if name not in table.columns:
        return np.full(table.rows, np.nan)
    column = pc.utf8_trim_whitespace(table.columns[name])
    empty = pc.equal(column, "")
    numbers = _parsed(table, name, pc.if_else(empty, "0", column))
    if whole:
        _refuse_first(table, pa.array(numbers != np.rint(numbers)), name, "a whole number", column)
    least = -most if least is None else least
    _refuse_first(table, pa.array((numbers < least) | (numbers > most)), name, f"from {least:g} to {most:g}", column)
    return np.where(empty.to_numpy(zero_copy_only=False), np.nan, numbers)


def _parsed(table: _Table, name: str, column: pa.Array) -> npt.NDArray[np.float64]:
    """The float64 numbers of a column of texts."""
    try:
        numbers: npt.NDArray[np.float64] = column.cast(pa.float64()).to_numpy()
    except pa.ArrowInvalid:
        wrong = pc.invert(pc.match_substring_regex(column, _PLAIN_NUMBER))
        _refuse_first(table, wrong, name, "a number", column)
        raise
    _refuse_first(table, pa.array(~np.isfinite(numbers)), name, "a finite number", column)
    return numbers


def _refuse_first(table: _Table, wrong: pa.Array, name: str, expected: str, column: pa.Array) -> None:
    row = pc.index(wrong, True).as_py()
    if row >= 0:
        got = repr(column[row].as_py())
        raise EventFileError(file=table.path, place=table.place(row), expected=f"{name} to be {expected}", got=got)


def _read_table(path: Path, wanted: _Wanted) -> _Table:
    if not path.is_file():
        there = "a directory" if path.is_dir() else "a pipe or device, which cannot be read twice"
        raise EventFileError(file=path, expected="a file", got=there if path.exists() else "nothing there")
    name = path.name.lower().removesuffix(".gz")
    read = _read_parquet if name.endswith((".parquet", ".pq")) else _read_delimited
    try:
        return read(path, wanted)
    except (OSError, EOFError, zlib.error) as error:
        raise EventFileError(file=path, expected="a readable file", got=str(error)) from None


def _chosen(path: Path, header: list[str], wanted: _Wanted) -> dict[str, str]:
    """Which column of the file to read for each of ours."""
    known: dict[str, str] = {}
    for column in header:
        name = column.strip().split(":")[0].lower()
        if name in known:
            raise EventFileError(file=path, place="header", expected="each column once", got=f"{name!r} twice")
        known[name] = column
    for alias, name in wanted.aliases.items():
        if alias in known:
            known.setdefault(name, known[alias])
    for name in wanted.required:
        if name not in known:
            got = f"only {', '.join(known)}"
            raise EventFileError(file=path, place="header", expected=f"a column {name!r}", got=got)
    return {name: known[name] for name in (*wanted.required, *wanted.optional) if name in known}


@dataclass(frozen=True, slots=True)
class _Dialect:
    delimiter: str
    quoted: bool
    header: list[str]


def _read_delimited(path: Path, wanted: _Wanted) -> _Table:
    dialect = _dialect(path)
    chosen = _chosen(path, dialect.header, wanted)
    try:
        with pa.input_stream(str(path), compression="gzip" if path.name.lower().endswith(".gz") else None) as stream:
            read = pyarrow.csv.read_csv(
                stream,
                read_options=pyarrow.csv.ReadOptions(block_size=_BLOCK_BYTES),
                parse_options=pyarrow.csv.ParseOptions(
                    delimiter=dialect.delimiter,
                    quote_char='"' if dialect.quoted else False,
                    newlines_in_values=dialect.quoted,
                ),
                convert_options=pyarrow.csv.ConvertOptions(
                    include_columns=list(chosen.values()),
                    column_types={column: pa.string() for column in chosen.values()},
                    strings_can_be_null=False,
                ),
            )
    except pa.ArrowInvalid as error:
        if _has_rows(path, dialect):
            _raise_found(path, dialect, str(error))
        # a header without a line's end is none to pyarrow
        read = pa.table({column: pa.array([], pa.string()) for column in chosen.values()})
    return _Table(
        path,
        read.num_rows,
        {name: read[column].combine_chunks() for name, column in chosen.items()},
        lambda row: _line_of(path, dialect, row),
        "|" if dialect.quoted else None,
    )


def _dialect(path: Path) -> _Dialect:
    try:
        with _open_text(path) as lines:
            first = next((line for line in lines if line.strip("\r\n")), "").strip("\r\n")
    except UnicodeDecodeError:
        raise EventFileError(file=path, place=_undecodable_line(path), expected="UTF-8", got="other bytes") from None
    if not first:
        raise EventFileError(file=path, expected="a header line", got="an empty file")
    delimiter = max("\t,;", key=first.count)
    quoted = re.search(r":(token|float)(_seq)?\b", first) is None
    return _Dialect(delimiter, quoted, next(_reader(io.StringIO(first), delimiter, quoted)))


def _numbered_records(path: Path, dialect: _Dialect) -> Iterator[tuple[int, list[str]]]:
    """Every record that is not a blank line, the header first, with the line that it begins on."""
    with _open_text(path) as lines:
        reader = _reader(lines, dialect.delimiter, dialect.quoted)
        begins = 1
        for record in reader:
            if record:
                yield begins, record
            begins = reader.line_num + 1


def _has_rows(path: Path, dialect: _Dialect) -> bool:
    try:
        return len(list(islice(_numbered_records(path, dialect), 2))) > 1
    except (UnicodeDecodeError, csv.Error):
        return True


def _reader(lines: Iterable[str], delimiter: str, quoted: bool) -> _csv.Reader:
    return csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE)


def _open_text(path: Path) -> io.TextIOWrapper:
    return io.TextIOWrapper(_open_bytes(path), encoding="utf-8-sig", newline="")


def _open_bytes(path: Path) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(path)) if path.name.lower().endswith(".gz") else path.open("rb")


def _line_of(path: Path, dialect: _Dialect, row: int) -> str:
    for number, (line, _) in enumerate(_numbered_records(path, dialect)):
        if number == row + 1:
            return f"line {line}"
    return f"row {row + 1}"


def _raise_found(path: Path, dialect: _Dialect, said: str) -> NoReturn:
    """Find what pyarrow stumbled over."""
    columns = len(dialect.header)
    line = 0
    try:
        for line, record in _numbered_records(path, dialect):
            if len(record) != columns:
                raise EventFileError(
                    file=path, place=f"line {line}", expected=f"{columns} columns", got=f"{len(record)}: {record}"[:200]
                )
    except UnicodeDecodeError:
        raise EventFileError(file=path, place=_undecodable_line(path), expected="UTF-8", got="other bytes") from None
    except csv.Error as error:
        said = str(error)
    raise EventFileError(file=path, place=f"after line {line}", expected="delimited text", got=said)


def _undecodable_line(path: Path) -> str:
    with _open_bytes(path) as lines:
        for number, line in enumerate(lines, 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return f"line {number}"
    return ""


def _read_parquet(path: Path, wanted: _Wanted) -> _Table:
    with _open_bytes(path) as stream:
        content = stream.read()
    try:
        file = pyarrow.parquet.ParquetFile(pa.BufferReader(content))
        chosen = _chosen(path, file.schema_arrow.names, wanted)
        read = file.read(columns=list(chosen.values()))
    except pa.ArrowInvalid as error:
        raise EventFileError(file=path, expected="a Parquet file", got=str(error)) from None
    columns = {name: _as_texts(path, name, read[column].combine_chunks()) for name, column in chosen.items()}
    return _Table(path, read.num_rows, columns, lambda row: f"row {row + 1}", "|")


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _as_texts(path: Path, name: str, column: pa.Array) -> pa.Array:
    """Bring a Parquet column to what a delimited file would have said; null becomes empty."""
    kind = column.type
    if name == "timestamp" and (pa.types.is_timestamp(kind) or pa.types.is_date(kind)):
        return column.cast(pa.timestamp("ms"), safe=False)
    if pa.types.is_floating(kind) and name.endswith("_id"):
        raise EventFileError(file=path, place="schema", expected=f"{name} to be text or whole numbers", got=str(kind))
    try:
        if name in ITEM_LISTS and _is_list(kind):
            return column.cast(pa.list_(pa.string()))
        return pc.fill_null(column.cast(pa.string()), "")
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        expected = f"{name} to be text or numbers"
        raise EventFileError(file=path, place="schema", expected=expected, got=str(kind)) from None
