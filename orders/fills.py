"""Reads the trades that are shown in an order: its last ORDER_TRADES_SHOWN_MAX fills.

An order may have any number of fills, so no read depends on how many there are.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import connection

from base.numbers import json_number
from orders.documents import FillDocument
from orders.models import Order

# Orders whose fills are counted by one statement. The count stops once a page is full.
_COUNTED_AT_ONCE = 100
_COUNT_SQL = """
SELECT least(%(shown_max)s,
  (SELECT count(*) FROM (
    SELECT FROM orders_trade WHERE maker_order_id = chosen.order_id LIMIT %(shown_max)s) AS fill)
  + (SELECT count(*) FROM (
    SELECT FROM orders_trade WHERE taker_order_id = chosen.order_id LIMIT %(shown_max)s) AS fill))
FROM unnest(%(order_ids)s::uuid[]) WITH ORDINALITY AS chosen (order_id, number)
ORDER BY chosen.number
"""
# Values are selected as text, which is faster: a client that sends an order again waits for them.
_OF_ONE_ROLE = """
SELECT '{role}' AS liquidity, trade.* FROM orders_trade AS trade
WHERE trade.{role}_order_id = chosen.order_id AND trade.sequence <= chosen.sequence
ORDER BY trade.{role}_order_id DESC, trade.timestamp DESC, trade.sequence DESC LIMIT %(rows)s
"""
_FILLS_SQL = f"""
SELECT chosen.order_id, fill.trade_id::text, trim_scale(fill.price)::text, trim_scale(fill.quantity)::text,
  fill.taker_side, fill.liquidity, to_char(fill.timestamp AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
FROM unnest(%(order_ids)s::uuid[], %(sequences)s::bigint[]) AS chosen (order_id, sequence)
CROSS JOIN LATERAL (
  SELECT * FROM (({_OF_ONE_ROLE.format(role="taker")}) UNION ALL ({_OF_ONE_ROLE.format(role="maker")})) AS found
  ORDER BY timestamp DESC, sequence DESC LIMIT %(rows)s
) AS fill
ORDER BY fill.timestamp, fill.sequence
"""  # noqa: S608 - joined from constants only


class ShownFills(NamedTuple):
    """The last fills of an order, oldest first. They are `complete` if there are no others."""

    fills: list[FillDocument]
    complete: bool


def read_shown_fills(orders: Iterable[Order]) -> dict[UUID, ShownFills]:
    """Return the last fills of each order that has any.

    The trades are read after the orders. If an order was filled again in between, the new trades
    have a later sequence than the order's row, and are left out.
    """
    sequences = {order.order_id: order.sequence for order in orders if order.filled_quantity}
    if not sequences:
        return {}
    shown_max = settings.ORDER_TRADES_SHOWN_MAX
    found: dict[UUID, list[FillDocument]] = {}
    with connection.cursor() as cursor:
        cursor.execute(
            _FILLS_SQL,
            {"order_ids": list(sequences), "sequences": list(sequences.values()), "rows": shown_max + 1},
        )
        for order_id, trade_id, price, quantity, side, liquidity, timestamp in cursor.fetchall():
            fill = FillDocument(
                trade_id, json_number(price), json_number(quantity), side, liquidity, timestamp
            )
            found.setdefault(order_id, []).append(fill)
    return {
        order_id: ShownFills(fills[-shown_max:], len(fills) <= shown_max) for order_id, fills in found.items()
    }


def count_rows_within_fills_max(rows: Sequence[Order]) -> int:
    """Return how many of the first rows show at most PAGE_FILLS_MAX fills in total.

    The result is at least 1 if there are rows.
    """
    filled = [(number, row.order_id) for number, row in enumerate(rows) if row.filled_quantity]
    together = 0
    for start in range(0, len(filled), _COUNTED_AT_ONCE):
        counted = filled[start : start + _COUNTED_AT_ONCE]
        with connection.cursor() as cursor:
            parameters: dict[str, Any] = {
                "order_ids": [order_id for _, order_id in counted],
                "shown_max": settings.ORDER_TRADES_SHOWN_MAX,
            }
            cursor.execute(_COUNT_SQL, parameters)
            counts = [count for (count,) in cursor.fetchall()]
        for (number, _), count in zip(counted, counts, strict=True):
            together += count
            if together > settings.PAGE_FILLS_MAX:
                return max(1, number)
    return len(rows)
