"""Reads of orders and their trades. They are synchronous: views call them with read_database."""

from collections import Counter, defaultdict
from collections.abc import Collection
from typing import NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import connection
from django.db.models import Count

from base.numbers import json_number
from orders.documents import FillDocument, OrderDocument, stored_state
from orders.keys import FOUND_BY_KEY
from orders.models import Order
from orders.pages import OrderQuery, list_order_rows


class OrderPage(NamedTuple):
    """Some orders, newest first.

    The next page starts after the id `after`. If `after` is None, there is no next page.
    """

    orders: list[OrderDocument]
    after: UUID | None


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
    fitting = _count_rows_within_fills_max(rows)
    if len(rows) > fitting:
        rows, more = rows[:fitting], True
    return OrderPage(_order_documents(rows), rows[-1].order_id if more else None)


def _count_rows_within_fills_max(rows: list[Order]) -> int:
    """Return how many of the first rows have at most PAGE_FILLS_MAX fills in total.

    The result is at least 1 if there are rows.
    """
    filled = Order.objects.order_by().filter(
        order_id__in=[row.order_id for row in rows if row.filled_quantity]
    )
    fills: Counter[UUID] = Counter()
    for side in ("maker_trades", "taker_trades"):
        fills.update(dict(filled.annotate(fills=Count(side)).values_list("order_id", "fills")))
    together = 0
    for number, row in enumerate(rows):
        together += fills[row.order_id]
        if together > settings.PAGE_FILLS_MAX:
            return max(1, number)
    return len(rows)


def _order_documents(rows: list[Order]) -> list[OrderDocument]:
    fills = _read_fills([order for order in rows if order.filled_quantity])
    return [
        OrderDocument(**stored_state(order, order.instrument.symbol), trades=fills[order.order_id])
        for order in rows
    ]


# Values are selected as text, which is faster: an order may have a hundred thousand fills, and a
# client that sends the order again waits for them.
_FILLS_SQL = """
SELECT order_id, sequence, trade_id::text, trim_scale(price)::text, trim_scale(quantity)::text, taker_side,
       liquidity, to_char(timestamp AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
FROM (
  SELECT taker_order_id AS order_id, 'taker' AS liquidity, trade.* FROM orders_trade AS trade
  WHERE taker_order_id = ANY(%(order_ids)s)
  UNION ALL
  SELECT maker_order_id, 'maker', trade.* FROM orders_trade AS trade WHERE maker_order_id = ANY(%(order_ids)s)
) AS fill
ORDER BY sequence
"""


def _read_fills(orders: list[Order]) -> defaultdict[UUID, list[FillDocument]]:
    """Return the fills of each order, oldest first.

    The trades are read after the orders. If an order was filled again in between, the new trades
    have a later sequence than the order's row, and are left out.
    """
    found: defaultdict[UUID, list[FillDocument]] = defaultdict(list)
    if not orders:
        return found
    sequences = {order.order_id: order.sequence for order in orders}
    with connection.cursor() as cursor:
        cursor.execute(_FILLS_SQL, {"order_ids": list(sequences)})
        for order_id, sequence, trade_id, price, quantity, side, liquidity, timestamp in cursor.fetchall():
            if sequence <= sequences[order_id]:
                fill = FillDocument(
                    trade_id, json_number(price), json_number(quantity), side, liquidity, timestamp
                )
                found[order_id].append(fill)
    return found
