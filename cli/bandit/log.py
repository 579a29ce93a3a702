"""A log of rounds, and the file that holds one: CSV or Parquet, with the columns that docs/ope.md describes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from cli.errors import UserError
from models.ope.policies import Target
from models.ope.rounds import Rounds

REQUIRED = ("action", "reward", "propensity")
CONTEXT, TARGET = "context_", "target_prob"
MOST_CATEGORIES = 200
"""A context column of more different texts is an id, and no context."""


@dataclass(frozen=True, slots=True, eq=False)
class BanditLog:
    """What a source of rounds hands to `flinkrec ope`.

    Parameters
    ----------
    title : what it is called
    rounds : in the order in which they were logged
    actions : names of the actions, by their number
    targets : policies that only this source knows, by name; made when asked for
    fitted : policies that only this source knows and that learn from its first half, by name; made when asked for, with the rounds
        of the second half, on which they are evaluated
    left_out : how many records are no rounds, by why
    own_log : policies of `targets`, or others, of which this source has a log that they made themselves, by name
    """

    title: str
    rounds: Rounds
    actions: tuple[str, ...]
    targets: dict[str, Callable[[], Target]] = field(default_factory=dict)
    own_log: dict[str, Callable[[], Rounds]] = field(default_factory=dict)
    fitted: dict[str, Callable[[], tuple[Rounds, Target]]] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)


def read_log(path: Path) -> BanditLog:
    """Read a file.

    Raises
    ------
    UserError
        When it cannot be read, a column is missing, or a row is not usable; it names the row, from 1 without the header.
    """
    table = _read(path)
    missing = [name for name in REQUIRED if name not in table.column_names]
    if missing:
        raise UserError(f"{path}: expected a column {missing[0]!r}, got only {', '.join(table.column_names)}")
    if table.num_rows == 0:
        raise UserError(f"{path}: expected at least one round, got only a header")
    columns = {name: table[name].combine_chunks() for name in table.column_names}
    named = sorted(name for name in columns if name.startswith(f"{TARGET}_"))
    try:
        actions, action = _numbered(columns["action"], "action", [name.removeprefix(f"{TARGET}_") for name in named])
        rounds = Rounds(
            context=_context(columns, table.num_rows),
            action=action,
            position=_positions(columns.get("position"), table.num_rows),
            reward=_numbers(columns["reward"], "reward"),
            propensity=_numbers(columns["propensity"], "propensity"),
            unit=_numbered(columns["user_id"], "user_id")[1] if "user_id" in columns else np.arange(table.num_rows),
            n_actions=len(actions),
        )
        target = _target(columns, rounds, actions) if named or TARGET in columns else None
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None
    return BanditLog(str(path), rounds, actions, {} if target is None else {"column": lambda: target})


def _read(path: Path) -> pa.Table:
    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            return pyarrow.parquet.read_table(path)
        return pyarrow.csv.read_csv(path)
    except FileNotFoundError:
        raise UserError(f"{path}: expected a file, got nothing there") from None
    except (OSError, pa.ArrowInvalid) as error:
        raise UserError(f"{path}: expected a CSV or Parquet file: {error}") from None


def _numbered(
    column: pa.Array, name: str, at_least: list[str] | None = None
) -> tuple[tuple[str, ...], npt.NDArray[np.int64]]:
    """Names in the column and `at_least` these, in order, and the number of each row's."""
    texts = pc.fill_null(column.cast(pa.string()), "")
    empty = pc.index(texts, "").as_py()
    if empty >= 0:
        raise ValueError(f"row {empty + 1}: expected {name} to be a name, got nothing")
    names = {*texts.unique().to_pylist(), *(at_least or ())}
    ordered = sorted(names, key=lambda one: (not one.isdecimal(), int(one) if one.isdecimal() else 0, one))
    return tuple(ordered), pc.index_in(texts, pa.array(ordered)).to_numpy().astype(np.int64)


def _numbers(column: pa.Array, name: str) -> npt.NDArray[np.float64]:
    """NaN for what is missing: `Rounds` refuses it with its row."""
    try:
        numbers: npt.NDArray[np.float64] = pc.fill_null(column.cast(pa.float64()), np.nan).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid as error:
        raise ValueError(f"expected {name} to be numbers: {error}") from None
    return numbers


def _positions(column: pa.Array | None, n: int) -> npt.NDArray[np.int64]:
    """Counted from 0 in their order; all 0 without the column."""
    if column is None:
        return np.zeros(n, np.int64)
    numbers = _numbers(column, "position")
    wrong = np.rint(numbers) != numbers
    if wrong.any():
        raise ValueError(f"row {int(np.argmax(wrong)) + 1}: expected position to be a whole number, got {numbers[wrong][0]}")
    return np.unique(numbers, return_inverse=True)[1].astype(np.int64)


def _context(columns: dict[str, pa.Array], n: int) -> npt.NDArray[np.float64]:
    """Numbers as they are; one column for each text but the first, which is the others' absence."""
    found = [np.empty((n, 0))]
    for name in sorted(name for name in columns if name.startswith(CONTEXT)):
        column = columns[name]
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        if not pa.types.is_string(column.type):
            found.append(_numbers(column, name)[:, None])
            continue
        categories, category = _numbered(column, name)
        if len(categories) > MOST_CATEGORIES:
            raise ValueError(f"expected {name} to have at most {MOST_CATEGORIES} different texts, got {len(categories)}")
        found.append(category[:, None] == np.arange(1, len(categories)))
    return np.concatenate(found, axis=1, dtype=np.float64)


def _target(columns: dict[str, pa.Array], rounds: Rounds, actions: tuple[str, ...]) -> Target:
    """The policy in the columns: of every action, or of the logged action alone."""
    if not any(name.startswith(f"{TARGET}_") for name in columns):
        return Target(_numbers(columns[TARGET], TARGET))
    unnamed = [action for action in actions if f"{TARGET}_{action}" not in columns]
    if unnamed:
        raise ValueError(f"expected a column '{TARGET}_{unnamed[0]}', as there is one for other actions")
    names = [f"{TARGET}_{action}" for action in actions]
    return Target.of(rounds, np.column_stack([_numbers(columns[name], name) for name in names]))
