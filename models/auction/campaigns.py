"""The campaigns as the serve path knows them: their rules, how their accounts stand, and what the ledger must be told.

An item of a campaign is a candidate only while the campaign has a rule, its time has come and is not over, and its account has money
left; of others the replica offers nothing. What is held here follows from `controls` and `model-updates` alone. What the ledger was
not yet told is in no checkpoint: the terms are told again at every start, before anything else, and of the slates since the last
telling some may count twice or not at all, which moves a plan by as little.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec
import numpy as np
from msgspec import Struct

from models.auction.ledger import ACCOUNT_PREFIX, Message, Sale, Slates, Standing, Terms, decode_standing
from models.config import Auction as Settings
from models.controls import Campaign
from models.offers import Offers

_NEVER_MS = 2**63 - 1
_PREFIX = "campaign:"


class Campaigns:
    """Which campaigns run, and at which pace.

    Parameters
    ----------
    offers : which items are whose
    settings : section ``auction`` of the configuration

    Attributes
    ----------
    standings : by campaign, of those whose account was heard of
    outbox : for the ledger, in order; the caller takes it with `take_messages`
    """

    def __init__(self, offers: Offers, settings: Settings) -> None:
        self._offers = offers
        self._interval_ms = 1000 * settings.pacing_interval_s
        self._rules: dict[str, Campaign] = {}
        self.standings: dict[str, Standing] = {}
        self.outbox: list[Message] = []
        self._time_ms = 0
        self._next_change_ms = _NEVER_MS
        self._slates = 0
        self._told_ms = -self._interval_ms
        self._running = np.zeros(0, np.bool_)
        self._items = np.zeros(0, np.int32)
        self._items_at = -1
        self._paces = np.zeros(0)

    def install(self, rules: Mapping[str, Struct]) -> None:
        """Let the campaigns among these rules be in force, instead of those before."""
        before = self._rules
        self._rules = {name.removeprefix(_PREFIX): rule for name, rule in rules.items() if isinstance(rule, Campaign)}
        self.outbox += [Terms.of(name, rule) for name, rule in self._rules.items() if before.get(name) != rule]
        self._refresh()

    def apply(self, key: str, value: bytes | None) -> bool:
        """Take over how an account stands; says whether other campaigns run than before.

        Raises
        ------
        ValueError
            When the record cannot be read.
        """
        name = key.removeprefix(ACCOUNT_PREFIX)
        if value is None:
            self.standings.pop(name, None)
        else:
            try:
                self.standings[name] = decode_standing(value)
            except msgspec.MsgspecError as error:
                raise ValueError(f"the account of campaign {name!r}: {error}") from None
        return self._refresh()

    def pass_time(self, time_ms: int) -> bool:
        """Count a slate of this event time; says whether other campaigns run than before."""
        if not self._rules:
            return False
        self._slates += 1
        self._time_ms = max(self._time_ms, time_ms)
        if time_ms >= self._told_ms + self._interval_ms:
            self.outbox += [Slates(name, self._slates, time_ms) for name in self._rules]
            self._slates, self._told_ms = 0, time_ms
        return self._time_ms >= self._next_change_ms and self._refresh()

    def sell(self, sales: Iterable[Sale]) -> None:
        """Pass charged events on."""
        self.outbox += sales

    def take_messages(self) -> list[Message]:
        """What the ledger has not been told yet."""
        messages, self.outbox = self.outbox, []
        return messages

    @property
    def paces(self) -> np.ndarray:
        """float64[campaigns], by number; 0 of those that do not run."""
        self._require_current()
        return self._paces

    def bars(self, index: int) -> bool:
        """Whether the item of a dense index is of a campaign that does not run."""
        self._require_current()
        number = int(self._offers.of_item[index])
        return number >= 0 and not self._running[number]

    def barred(self, items: int) -> np.ndarray:
        """bool[items], the same of the first so many items."""
        self._require_current()
        # what no campaign pays for is numbered -1, and finds the last element
        return ~np.append(self._running, True)[self._offers.of_item[:items]]

    def items(self, most: int, *, turn: int) -> np.ndarray:
        """int32[n], dense indices of items of campaigns that run; where there are more than `most`, another few in each turn."""
        self._require_current()
        if self._items_at != self._offers.puts:
            known = self._offers.of_item
            self._items = np.flatnonzero(np.append(self._running, False)[known] & (self._offers.bids > 0)).astype(np.int32)
            self._items_at = self._offers.puts
        if len(self._items) <= most:
            return self._items
        return np.roll(self._items, -(turn * most))[:most]

    def _require_current(self) -> None:
        if len(self._running) != len(self._offers.names):
            self._refresh()

    def _refresh(self) -> bool:
        before = self._running
        running = [self._runs(name) for name in self._offers.names]
        self._running = np.array(running, np.bool_)
        self._items_at = -1
        paces = [self.standings[name].pace if name in self.standings else 1.0 for name in self._offers.names]
        self._paces = np.where(self._running, paces, 0.0)
        bounds = (bound for rule in self._rules.values() for bound in (rule.begins_ms, rule.ends_ms))
        self._next_change_ms = min((bound for bound in bounds if bound is not None and bound > self._time_ms), default=_NEVER_MS)
        return not np.array_equal(before, self._running)

    def _runs(self, name: str) -> bool:
        rule = self._rules.get(name)
        if rule is None or rule.budget == 0 or (rule.begins_ms or 0) > self._time_ms:
            return False
        if rule.ends_ms is not None and rule.ends_ms <= self._time_ms:
            return False
        standing = self.standings.get(name)
        return standing is None or standing.left_micros > 0
