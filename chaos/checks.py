"""Compares the answers that clients received with the database."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import class_row

from chaos.breaches import Breaches, Kind
from chaos.journal import (
    Cancelled,
    ClientOrder,
    ClientOrderState,
    Entry,
    Fill,
    Journal,
    NotOpen,
    NotTaken,
    Placed,
    Printed,
)
from chaos.traffic import ONCE_PREFIX

_CHUNK_ENTRIES = 5_000
_CONNECT_SECONDS_MAX = 10
_DOUBLES_LISTED_MAX = 100
_ENDED = ("filled", "cancelled", "rejected")
TERMS = (
    *("client_id", "instrument", "side", "type", "idempotency_key"),
    *("time_in_force", "post_only", "self_trade_prevention"),
)
AMENDABLE_TERMS = ("price", "quantity")

_ORDERS = """
SELECT stored.order_id, stored.client_id, instrument.symbol AS instrument, stored.side, stored.type, stored.price,
  stored.quantity, stored.filled_quantity, stored.status, stored.idempotency_key, stored.time_in_force,
  stored.post_only, stored.self_trade_prevention,
  EXISTS (SELECT FROM orders_orderevent WHERE order_id = stored.order_id
          AND kind IN ('withdrawn', 'reduced', 'amended')) AS is_amended
FROM orders_order AS stored JOIN instruments_instrument AS instrument ON instrument.id = stored.instrument_id
WHERE stored.order_id = ANY(%s)
"""
_TRADES = """
SELECT trade_id, price, quantity, maker_order_id, taker_order_id FROM orders_trade WHERE trade_id = ANY(%s)
"""
_PLACED_THOUGH_REFUSED = "SELECT client_id, order_id FROM orders_order WHERE client_id = ANY(%s)"
_KEYS_WITH_SEVERAL = """
SELECT client_id || ' ' || idempotency_key, count(*) FROM orders_order WHERE idempotency_key IS NOT NULL
GROUP BY client_id, idempotency_key HAVING count(*) > 1 LIMIT %s
"""
_SENT_ONCE_PLACED_TWICE = """
SELECT client_id, count(*) FROM orders_order WHERE starts_with(client_id, %s)
GROUP BY client_id HAVING count(*) > 1 LIMIT %s
"""


class _StoredOrder(ClientOrderState):
    is_amended: bool


@dataclass(frozen=True, slots=True)
class _StoredTrade:
    trade_id: UUID
    price: Decimal
    quantity: Decimal
    maker_order_id: UUID
    taker_order_id: UUID


def check_journal(journal: Journal, postgres_uri: str, breaches: Breaches) -> None:
    """Add every breach. Raises `psycopg.Error` if the database can't be read."""
    with psycopg.connect(postgres_uri, autocommit=True, connect_timeout=_CONNECT_SECONDS_MAX) as connection:
        for entries in _chunks(journal.entries()):
            _Chunk(entries, connection, breaches).check()
        for key, count in connection.execute(_KEYS_WITH_SEVERAL, [_DOUBLES_LISTED_MAX]):
            breaches.add(Kind.DOUBLE, f"client and key {key}: {count} orders")
        for client_id, count in connection.execute(
            _SENT_ONCE_PLACED_TWICE, [ONCE_PREFIX, _DOUBLES_LISTED_MAX]
        ):
            breaches.add(Kind.DOUBLE, f"{client_id}: sent one order, but {count} exist")


class _Chunk:
    """A part of the journal, with the database's rows for it."""

    def __init__(
        self, entries: Sequence[Entry], connection: psycopg.Connection[Any], breaches: Breaches
    ) -> None:
        self._entries = entries
        self._breaches = breaches
        self._placed = [entry.decode() for entry in entries if isinstance(entry, Placed)]
        order_ids = {order.order_id for order in self._placed}
        order_ids |= {entry.order_id for entry in entries if isinstance(entry, Cancelled | NotOpen)}
        trade_ids = {fill.trade_id for order in self._placed for fill in order.trades}
        trade_ids |= {entry.trade_id for entry in entries if isinstance(entry, Printed)}
        with connection.cursor(row_factory=class_row(_StoredOrder)) as cursor:
            orders = cursor.execute(_ORDERS, [list(order_ids)])
            self._orders = {stored.order_id: stored for stored in orders}
        with connection.cursor(row_factory=class_row(_StoredTrade)) as cursor:
            trades = cursor.execute(_TRADES, [list(trade_ids)])
            self._trades = {stored.trade_id: stored for stored in trades}
        refused = [entry.client_id for entry in entries if isinstance(entry, NotTaken)]
        self._placed_though_refused = connection.execute(_PLACED_THOUGH_REFUSED, [refused]).fetchall()

    def check(self) -> None:
        for order in self._placed:
            self._check_order(order)
        for entry in self._entries:
            match entry:
                case Cancelled(order_id=order_id):
                    self._check_cancel(order_id)
                case NotOpen(order_id=order_id):
                    self._check_not_open(order_id)
                case Printed(trade_id=trade_id, price=price, quantity=quantity):
                    self._check_trade(trade_id, price, quantity)
        for client_id, order_id in self._placed_though_refused:
            self._breaches.add(Kind.REFUSED, f"{client_id}: answered 503, but order {order_id} exists")

    def _check_order(self, order: ClientOrder) -> None:
        stored = self._orders.get(order.order_id)
        if stored is None:
            self._breaches.add(Kind.LOST, f"order {order.order_id} of {order.client_id}")
            return
        for name in TERMS if stored.is_amended else (*TERMS, *AMENDABLE_TERMS):
            if getattr(stored, name) != getattr(order, name):
                self._add_change(order, f"{name} {getattr(order, name)} is {getattr(stored, name)}")
        if stored.filled_quantity < order.filled_quantity:
            self._breaches.add(Kind.LOST, f"order {order.order_id}: fills of {order.filled_quantity}")
        if order.status in _ENDED and stored.status != order.status:
            self._add_change(order, f"status {order.status} is {stored.status}")
        if sum(fill.quantity for fill in order.trades) != order.filled_quantity:
            self._add_change(order, "its trades do not add up to its filled quantity")
        for fill in order.trades:
            self._check_fill(order, fill)

    def _check_fill(self, order: ClientOrder, fill: Fill) -> None:
        stored = self._check_trade(fill.trade_id, fill.price, fill.quantity)
        if stored is not None:
            party = stored.maker_order_id if fill.liquidity == "maker" else stored.taker_order_id
            if party != order.order_id:
                self._add_change(order, f"trade {fill.trade_id} has another {fill.liquidity}")

    def _check_trade(self, trade_id: UUID, price: Decimal, quantity: Decimal) -> _StoredTrade | None:
        stored = self._trades.get(trade_id)
        if stored is None:
            self._breaches.add(Kind.LOST, f"trade {trade_id}")
        elif (stored.price, stored.quantity) != (price, quantity):
            self._breaches.add(Kind.CHANGED, f"trade {trade_id}: {quantity} at {price}")
        return stored

    def _check_cancel(self, order_id: UUID) -> None:
        stored = self._orders.get(order_id)
        if stored is None or stored.status != "cancelled":
            found = "missing" if stored is None else stored.status
            self._breaches.add(Kind.LOST, f"the cancel of order {order_id}: the order is {found}")

    def _check_not_open(self, order_id: UUID) -> None:
        stored = self._orders.get(order_id)
        if stored is None or stored.status not in _ENDED:
            found = "missing" if stored is None else stored.status
            self._breaches.add(
                Kind.ANSWER, f"order {order_id}: a cancel was refused as not open, but the order is {found}"
            )

    def _add_change(self, order: ClientOrder, difference: str) -> None:
        self._breaches.add(Kind.CHANGED, f"order {order.order_id} of {order.client_id}: {difference}")


def _chunks(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    iterator = iter(entries)
    while chunk := list(islice(iterator, _CHUNK_ENTRIES)):
        yield chunk
