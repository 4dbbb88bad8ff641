"""Reads of orders and their trades. They are synchronous: views call them with read_database."""

from collections.abc import Collection
from typing import NamedTuple
from uuid import UUID

from django.db import connection

from orders.documents import OrderDocument, stored_state
from orders.fills import ShownFills, count_rows_within_fills_max, read_shown_fills
from orders.keys import FOUND_BY_KEY
from orders.models import Order
from orders.pages import OrderQuery, list_order_rows
from orders.time_lists import Position


class OrderPage(NamedTuple):
    """Some orders. The next page follows the position `after`; None means that there is none."""

    orders: list[OrderDocument]
    after: Position | None


class LiveOrders(NamedTuple):
    """The numbers of an instrument's orders that rest, and that wait for their trigger."""

    resting: int
    waiting: int


# Conditions and sorting are those of two indexes, order_resting and order_list.
_LIVE_ORDERS_SQL = """
SELECT chosen.instrument_id, (SELECT count(*) FROM (
  SELECT 1 FROM orders_order WHERE instrument_id = chosen.instrument_id AND status IN ('open', 'partially_filled')
  ORDER BY instrument_id, priority LIMIT %(count_max)s
) AS resting), (SELECT count(*) FROM (
  SELECT 1 FROM orders_order WHERE instrument_id = chosen.instrument_id AND status = 'pending'
  ORDER BY instrument_id, status, created_at LIMIT %(count_max)s
) AS waiting)
FROM unnest(%(instruments)s::bigint[]) AS chosen (instrument_id)
"""


def count_live_orders(instrument_ids: Collection[int], *, count_max: int) -> dict[int, LiveOrders]:
    """Count the live orders of each instrument. Stops at `count_max` of each kind."""
    with connection.cursor() as cursor:
        cursor.execute(_LIVE_ORDERS_SQL, {"instruments": list(instrument_ids), "count_max": count_max})
        return {instrument_id: LiveOrders(*counts) for instrument_id, *counts in cursor.fetchall()}


def find_order(order_id: UUID | str) -> OrderDocument | None:
    """Return an order with its trades, or None if there is no such order."""
    documents = _order_documents(list(Order.objects.select_related("instrument").filter(order_id=order_id)))
    return documents[0] if documents else None


def find_order_row(order_id: UUID | str) -> Order | None:
    """Return an order's row with its instrument, without its trades, or None."""
    return find_order_rows([str(order_id)]).get(str(order_id))


def find_order_rows(order_ids: Collection[str]) -> dict[str, Order]:
    """Return the rows of the existing orders with these ids, with their instruments, by id."""
    rows = Order.objects.select_related("instrument").order_by().filter(order_id__in=order_ids)
    return {str(row.order_id): row for row in rows}


def find_order_rows_by_key(keys: Collection[tuple[str, str]]) -> dict[tuple[str, str], Order]:
    """Return the rows of the orders with these pairs of client id and idempotency key, by pair."""
    client_ids, idempotency_keys = [client_id for client_id, _ in keys], [key for _, key in keys]
    rows = Order.objects.raw(
        f"SELECT found.* {FOUND_BY_KEY}",
        {"client_ids": client_ids, "keys": idempotency_keys},
    ).prefetch_related("instrument")
    return {(row.client_id, str(row.idempotency_key)): row for row in rows}


def list_orders(query: OrderQuery) -> OrderPage:
    """Return a page of orders. It is empty only if no more orders follow."""
    rows, more = list_order_rows(query)
    fitting = count_rows_within_fills_max(rows)
    if len(rows) > fitting:
        rows, more = rows[:fitting], True
    after = Position(rows[-1].created_at, rows[-1].order_id) if more else None
    return OrderPage(_order_documents(rows), after)


def find_listed_order(idempotency_key: str, query: OrderQuery) -> OrderPage:
    """Return the order that the query's client has sent with this key, if the filters match it."""
    pair = str(query.client_id), idempotency_key
    found = find_order_rows_by_key([pair]).get(pair)
    matches = found is not None and query.matches(found)
    return OrderPage(_order_documents([found]) if found is not None and matches else [], None)


def _order_documents(rows: list[Order]) -> list[OrderDocument]:
    shown = read_shown_fills(rows)
    documents = []
    for order in rows:
        fills, complete = shown.get(order.order_id, _NO_FILLS)
        state = stored_state(order, order.instrument.symbol)
        documents.append(OrderDocument(**state, trades=fills, trades_complete=complete))
    return documents


_NO_FILLS = ShownFills([], complete=True)
