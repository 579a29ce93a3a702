"""What the learn path has published, for people: policies' tables, the gate's record, versions that can be pinned."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np

from models.decisions import GateRecord, gate_key
from models.identity import hash64
from models.policies.base import FIXED
from models.policies.learner import POLICY_PREFIX
from models.policies.state import LEVELS, STATES
from models.versions import decode_tables, decode_version

RANKER = "ranker"
_LEVEL_NAMES = (
    ("activity", ("new", "active", "very active")),
    ("last seen", ("minutes ago", "today", "long ago")),
    ("sitting", ("begins", "goes on", "is long")),
    ("last slate", ("none yet", "passed over", "taken up")),
)
ACTIVITY_RECENCY = tuple(f"{activity}, {recency}" for activity in _LEVEL_NAMES[0][1] for recency in ("minutes", "a day", "longer"))
"""Names of the nine rows that the user states make, by their two higher parts."""
DEPTH_OUTCOME = tuple(f"{depth}\n{outcome}" for depth in ("start", "2–4", "5+") for outcome in ("none", "no", "yes"))
"""Names of the nine columns, by their two lower parts."""


@dataclass(frozen=True, slots=True, eq=False)
class PolicyTable:
    """What one policy has learned.

    Attributes
    ----------
    key : in `model-updates`, such as ``policy:q_learning@spring.learned``
    version : of the tables
    actions : names, or the hash where no name is known
    steps : int64[actions, rows], how often each was learned from
    values : float64[actions, rows], what each is worth in units of policy.reward_max; a row is a user state, or there is one row.
        NaN where there was no step. None where the policy keeps no such number (linear in the user's features).
    """

    key: str
    version: str
    actions: tuple[str, ...]
    steps: np.ndarray
    values: np.ndarray | None

    @property
    def name(self) -> str:
        """Of the policy."""
        return self.key.removeprefix(POLICY_PREFIX).partition("@")[0]

    @property
    def arm(self) -> str | None:
        """``SALT.ARM`` of the experiment's arm that it acts in, None for the configured policy."""
        return self.key.partition("@")[2] or None

    @property
    def by_state(self) -> bool:
        """Whether it keeps a row for each user state."""
        return self.steps.shape[1] == STATES


def read_policy(key: str, record: bytes, actions: tuple[str, ...]) -> PolicyTable:
    """Read the tables of a policy.

    Parameters
    ----------
    record : of `model-updates`
    actions : names that are known, in the order in which they are shown

    Raises
    ------
    ValueError
        When the record is damaged, or of a layout that this release cannot read.
    """
    version, weights = decode_version(record)
    tables = decode_tables(weights)
    known = {hash64(action): action for action in actions}
    names = [known.get(number, f"{number & 0xFFFF_FFFF:08x}") for number in tables["action"].tolist()]
    order = sorted(range(len(names)), key=lambda place: (actions.index(names[place]) if names[place] in actions else len(actions), place))
    steps = tables["counts"][order]
    return PolicyTable(key, str(version), tuple(names[place] for place in order), steps, _values(tables, order, steps))


def _values(tables: dict[str, np.ndarray], order: list[int], steps: np.ndarray) -> np.ndarray | None:
    if "values" in tables:
        learned = tables["values"][order].astype(np.float64)
    elif "sums" in tables and tables["sums"].shape == tables["counts"].shape:
        learned = tables["sums"][order] / FIXED / np.maximum(steps, 1)
    else:
        return None
    return np.where(steps > 0, learned, np.nan)


def state_in_words(state: int) -> str:
    """What a user state means, such as ``active, last seen today, the sitting goes on, last slate taken up``."""
    levels = [state // LEVELS**power % LEVELS for power in (3, 2, 1, 0)]
    activity, recency, depth, outcome = (names[level] for (_, names), level in zip(_LEVEL_NAMES, levels, strict=True))
    return f"{activity}, last seen {recency}, the sitting {depth}, last slate {outcome}"


class Learned:
    """The newest record of each policy, of the gate, and of the versions that can be pinned.

    Attributes
    ----------
    gate : the ranker's, None while there is none
    changes : rises with each record that is taken
    """

    def __init__(self) -> None:
        self._policies: dict[str, bytes] = {}
        self.gate: GateRecord | None = None
        self.changes = 0

    def put(self, key: str, value: bytes | None) -> None:
        """Take one record of `model-updates`; those that are not shown are passed over."""
        if key.startswith(POLICY_PREFIX):
            if value is None:
                self._policies.pop(key, None)
            else:
                self._policies[key] = value
            self.changes += 1
        elif key == gate_key(RANKER) and value is not None:
            self.gate = msgspec.json.decode(value, type=GateRecord)
            self.changes += 1

    def policies(self, actions: tuple[str, ...]) -> list[PolicyTable]:
        """The tables, by key."""
        return [read_policy(key, record, actions) for key, record in sorted(list(self._policies.items()))]
