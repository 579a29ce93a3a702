"""LEDGER: the accounts of campaigns.

Key
    the campaign, a LONG (hash of its name)
Input
    bytes: one message of `models.auction.ledger`
State
    ``account``  ValueState of packed bytes (layout: `models.auction.ledger`), about 700 bytes. No TTL: it is what was spent
Timers
    none: an account's clock are its messages
Outputs
    main: Row(key bytes, value bytes) for `model-updates`, how the account stands; side: Row(campaign, JSON) for `charges`
Late, duplicate and malformed events
    do not reach it: RECOMMEND credits an event once. A late sale is booked on the day that has begun. Bytes that cannot be decoded break
    an invariant and stop the job.
Recovery
    State and charges are exact, as both are part of the same checkpoint. What was published may be of a life that ended: the first message
    of a campaign after a start publishes its account once more.
Flink metrics
    ``charges``, ``charges_short`` (of less than the price), ``charged_micros``, ``beyond_micros`` (delivered for nothing)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from pyflink.common import Row, Types
from pyflink.datastream import KeyedProcessFunction, OutputTag, RuntimeContext
from pyflink.datastream.state import ValueStateDescriptor

from models.auction.ledger import Account, decode_message
from models.config import Auction
from models.topics import Charge
from operators.threads import use_one_thread

BYTES = Types.PRIMITIVE_ARRAY(Types.BYTE())
CHARGED = OutputTag("charged", Types.ROW([BYTES, BYTES]))

_encode = msgspec.json.Encoder().encode


class Ledger(KeyedProcessFunction):  # type: ignore[misc]
    """The adapter of `models.auction.ledger.Account`.

    Parameters
    ----------
    settings : section ``auction`` of the configuration
    """

    def __init__(self, settings: Auction) -> None:
        self._settings = settings

    def open(self, runtime_context: RuntimeContext) -> None:
        use_one_thread()
        self._account = runtime_context.get_state(ValueStateDescriptor("account", Types.PICKLED_BYTE_ARRAY()))
        self._published: set[Any] = set()
        metrics = runtime_context.get_metrics_group()
        names = ("charges", "charges_short", "charged_micros", "beyond_micros")
        self._charges, self._short, self._charged, self._beyond = map(metrics.counter, names)

    def process_element(self, value: bytes, ctx: KeyedProcessFunction.Context) -> Iterator[Any]:
        message = decode_message(bytes(value))
        account = Account(self._settings, self._account.value())
        charge, tells = account.take(message)
        self._account.update(account.encode())
        if charge is not None:
            self._count(charge)
            yield CHARGED, Row(charge.campaign.encode(), _encode(charge))
        key = ctx.get_current_key()
        if tells or key not in self._published:
            self._published.add(key)
            name, standing = account.record(message.campaign)
            yield Row(name.encode(), standing)

    def _count(self, charge: Charge) -> None:
        self._charges.inc()
        self._charged.inc(charge.charged_micros)
        if charge.charged_micros < charge.price_micros:
            self._short.inc()
            self._beyond.inc(charge.price_micros - charge.charged_micros)
