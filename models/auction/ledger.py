"""The ledger: what each campaign has spent, and at which pace it may go on.

One account a campaign. It is handed messages in some order and is a function of them: what the campaign may spend (`Terms`), charged
events (`Sale`), and how many slates there were (`Slates`), by which it knows the time too. A sale is charged at its price or at
what is left, whichever is less: the charges of a period never exceed its budget, whatever the order and however late a slate is
acted on. What was delivered beyond is counted. Amounts are millionths of the currency, whole numbers.

Periods are booked by the account's own clock, the latest event time that it was told: what comes late from the day before is charged on
the day that has begun.

Layout of a message: ``version u8 | MessagePack``, an array of the kind (0 terms, 1 sale, 2 slates) and the fields of its class in order.
Layout of an account, version 1: ``version u8 | MessagePack``, an array of the fields of `_State` in order; about 700 bytes.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import Struct

from models.auction.pacing import DAY_MS, Traffic, next_pace, planned
from models.config import Auction
from models.controls import Campaign
from models.layouts import require_version
from models.topics import Charge

VERSION = 1
ACCOUNT_PREFIX = "account:"
MICROS = 1_000_000
Pacing = Literal["traffic", "even", "fast"]


def micros(amount: float) -> int:
    """Millionths of an amount of the currency."""
    return round(amount * MICROS)


class Terms(Struct, array_like=True, tag=0, frozen=True):
    """What a campaign may spend; fields as of `models.controls.Campaign`, which it is made of."""

    campaign: str
    budget_micros: int
    per_day: bool
    begins_ms: int | None
    ends_ms: int | None
    pacing: Pacing

    @classmethod
    def of(cls, campaign: str, rule: Campaign) -> Terms:
        """The terms that a rule sets."""
        return cls(campaign, micros(rule.budget), rule.per == "day", rule.begins_ms, rule.ends_ms, rule.pacing)


class Sale(Struct, array_like=True, tag=1, frozen=True):
    """A charged event that is credited to a place of a slate; fields as of `models.topics.Charge`."""

    campaign: str
    item_id: str
    user_id: str
    slate_id: str
    position: int
    price_micros: int
    time_ms: int


class Slates(Struct, array_like=True, tag=2, frozen=True):
    """How many slates there were since this was last told to the campaign, and the time of the latest."""

    campaign: str
    slates: int
    time_ms: int


Message = Terms | Sale | Slates
_encode = msgspec.msgpack.Encoder().encode
_decode_message = msgspec.msgpack.Decoder(Message).decode


def encode_message(message: Message) -> bytes:
    """The packed bytes (layout: module docstring)."""
    return bytes((VERSION,)) + _encode(message)


def decode_message(raw: bytes) -> Message:
    """The message in `raw`.

    Raises
    ------
    ValueError
        When the bytes are of another version.
    """
    require_version(raw, VERSION, what="message to the ledger")
    message: Message = _decode_message(memoryview(raw)[1:])
    return message


class Standing(Struct, frozen=True, kw_only=True):
    """What `model-updates` says of an account, as JSON under ``account:CAMPAIGN``.

    Attributes
    ----------
    campaign : its name
    left_micros : of the budget of the period
    spent_micros : in the period
    beyond_micros : what was delivered for nothing since the account was opened, as there was no money left
    pace : between 0 and 1, what part of its chances the campaign should take
    time_ms : the account's clock
    """

    campaign: str
    left_micros: int
    spent_micros: int
    beyond_micros: int
    pace: float
    time_ms: int


decode_standing = msgspec.json.Decoder(Standing).decode
_encode_json = msgspec.json.Encoder().encode


def account_key(campaign: str) -> str:
    """Key of an account in `model-updates`."""
    return ACCOUNT_PREFIX + campaign


class _State(Struct, array_like=True):
    """What is kept of an account (layout: module docstring)."""

    terms: Terms | None = None
    time_ms: int = 0
    day: int = 0
    spent_micros: int = 0
    beyond_micros: int = 0
    charges: int = 0
    pace: float = 1.0
    paced_ms: int = 0
    traffic: Traffic = msgspec.field(default_factory=Traffic)


_decode_state = msgspec.msgpack.Decoder(_State).decode


class Account:
    """The account of one campaign.

    Parameters
    ----------
    settings : section ``auction`` of the configuration
    raw : what `encode` gave; None for a new account

    Raises
    ------
    ValueError
        When the bytes are of another version.
    """

    def __init__(self, settings: Auction, raw: bytes | None = None) -> None:
        self._settings = settings
        self._state = _State()
        if raw is not None:
            require_version(raw, VERSION, what="account")
            self._state = _decode_state(memoryview(raw)[1:])

    def encode(self) -> bytes:
        """The packed bytes (layout: module docstring)."""
        return bytes((VERSION,)) + _encode(self._state)

    @property
    def left_micros(self) -> int:
        """What may still be charged in this period."""
        terms = self._state.terms
        return 0 if terms is None else max(0, terms.budget_micros - self._state.spent_micros)

    def take(self, message: Message) -> tuple[Charge | None, bool]:
        """Take one message.

        Returns
        -------
        What is charged, where it is a sale; and whether replicas must be told how the account stands now.
        """
        self._advance(message)
        if isinstance(message, Sale):
            charge = self._charge(message)
            return charge, self.left_micros == 0 and charge.charged_micros > 0
        if isinstance(message, Terms):
            self._state.terms = message
            return None, True
        return None, self._pace(message)

    def _advance(self, message: Message) -> None:
        """Move the clock, and begin a new day where it has come."""
        state = self._state
        if isinstance(message, Terms):
            return
        state.time_ms = max(state.time_ms, message.time_ms)
        if state.time_ms // DAY_MS > state.day:
            state.day = state.time_ms // DAY_MS
            if state.terms is not None and state.terms.per_day:
                state.spent_micros = 0

    def _charge(self, sale: Sale) -> Charge:
        state = self._state
        charged = min(sale.price_micros, self.left_micros)
        state.spent_micros += charged
        state.beyond_micros += sale.price_micros - charged
        state.charges += 1
        return Charge(
            charge_id=f"{sale.slate_id}-{sale.position}",
            campaign=sale.campaign,
            item_id=sale.item_id,
            user_id=sale.user_id,
            slate_id=sale.slate_id,
            position=sale.position,
            price_micros=sale.price_micros,
            charged_micros=charged,
            left_micros=self.left_micros,
            time_ms=sale.time_ms,
            day=state.day,
        )

    def _pace(self, message: Slates) -> bool:
        state, settings = self._state, self._settings
        state.traffic.count(message.slates, time_ms=message.time_ms)
        if state.time_ms < state.paced_ms + 1000 * settings.pacing_interval_s:
            return False
        state.paced_ms = state.time_ms
        terms = state.terms
        if terms is not None and terms.budget_micros > 0:
            if terms.pacing == "fast":
                state.pace = 1.0
            elif self.left_micros > 0:  # without money there is nothing to hold back: the next day begins with the pace of before
                spent = state.spent_micros / terms.budget_micros
                state.pace = next_pace(state.pace, spent=spent, planned=self._planned(terms), step=settings.pacing_step)
        return True

    def _planned(self, terms: Terms) -> float:
        """The part of the budget that should be spent by now."""
        state = self._state
        share = state.traffic.share_until(state.time_ms) if terms.pacing == "traffic" else state.time_ms % DAY_MS / DAY_MS
        if terms.per_day:
            return planned(share)
        assert terms.begins_ms is not None and terms.ends_ms is not None
        days = (state.day * DAY_MS - terms.begins_ms) / DAY_MS + share
        return planned(days * DAY_MS / max(1, terms.ends_ms - terms.begins_ms))

    def record(self, campaign: str) -> tuple[str, bytes]:
        """Key and value for `model-updates`."""
        state = self._state
        standing = Standing(
            campaign=campaign,
            left_micros=self.left_micros,
            spent_micros=state.spent_micros,
            beyond_micros=state.beyond_micros,
            pace=state.pace,
            time_ms=state.time_ms,
        )
        return account_key(campaign), _encode_json(standing)
