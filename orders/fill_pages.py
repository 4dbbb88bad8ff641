"""Reads the fills of GET /fills: one order's halves of trades.

A trade is two fills: one of the maker's order and one of the taker's. If both orders belong to one
client, that client has both fills. The fills of a client are in two kinds of lists, one for its
orders as makers and one for its orders as takers, for each instrument. The fills of an order are in
two lists. orders/time_lists.py merges them.
"""

from typing import Any, NamedTuple

from django.db import connection

from base.numbers import json_number
from base.times import time_text
from orders.documents import ListedFillDocument
from orders.selectors import find_order_row
from orders.time_lists import PageBounds, Position, Source, page_sql


class FillQuery(NamedTuple):
    """The wanted fills, and the bounds of the page.

    A client, an order or both must be given. A filter that is None is left out.
    """

    client_id: str | None = None
    order_id: str | None = None
    instrument_id: int | None = None
    bounds: PageBounds = PageBounds()


class FillPage(NamedTuple):
    """Some fills. The next page follows the position `after`; None means that there is none."""

    fills: list[ListedFillDocument]
    after: Position | None


_ROLES = "(VALUES ('maker'), ('taker')) AS chosen (role)"
# An order has one list of each role. A client has one for each instrument.
_LISTS_OF_AN_ORDER = f"list AS MATERIALIZED (SELECT role FROM {_ROLES})"  # noqa: S608
_LISTS_IN_AN_INSTRUMENT = f"""
list AS MATERIALIZED (SELECT role, %(instrument)s::bigint AS instrument_id FROM {_ROLES})
"""  # noqa: S608
_NEXT_INSTRUMENT = """
SELECT instrument_id FROM orders_trade
WHERE ({role}_client_id, instrument_id) > (%(client)s::varchar, found_list.instrument_id)
  AND ({role}_client_id, instrument_id) <= (%(client)s::varchar, 9223372036854775807)
ORDER BY {role}_client_id, instrument_id LIMIT 1
"""
# Each step of the recursion jumps to the client's next instrument.
_LISTS_OF_A_CLIENT = f"""
RECURSIVE found_list AS (
  SELECT role, 0::bigint AS instrument_id FROM {_ROLES}
  UNION ALL
  SELECT role, CASE role
    WHEN 'maker' THEN ({_NEXT_INSTRUMENT.format(role="maker")})
    ELSE ({_NEXT_INSTRUMENT.format(role="taker")}) END
  FROM found_list WHERE instrument_id IS NOT NULL
),
list AS MATERIALIZED (SELECT role, instrument_id FROM found_list WHERE instrument_id > 0)
"""  # noqa: S608 - joined from constants only
_SELECTED = """
listed.trade_id, '{role}' AS role, listed.{role}_order_id AS order_id, listed.instrument_id, listed.price,
listed.quantity, {side} AS side, listed.sequence, listed.timestamp
"""
_OTHER_SIDE = "CASE listed.taker_side WHEN 'buy' THEN 'sell' ELSE 'buy' END"


def _of_a_client(role: str, side: str) -> Source:
    return Source(
        table="orders_trade",
        columns=(f"{role}_client_id", "instrument_id"),
        values=("%(client)s::varchar", "list.instrument_id"),
        time="timestamp",
        key="trade_id",
        selected=_SELECTED.format(role=role, side=side),
        role=f"'{role}'",
        only=f"list.role = '{role}'",
    )


_OF_A_CLIENT = [_of_a_client("maker", _OTHER_SIDE), _of_a_client("taker", "listed.taker_side")]
_OF_AN_ORDER = [
    source._replace(columns=(f"{role}_order_id",), values=("%(order)s::uuid",))
    for role, source in zip(("maker", "taker"), _OF_A_CLIENT, strict=True)
]
# An order may have been pruned before its trades.
_FILLS = """
SELECT fill.trade_id::text, fill.order_id::text, placed.idempotency_key, instrument.symbol,
  trim_scale(fill.price)::text, trim_scale(fill.quantity)::text, fill.side, fill.role, fill.sequence,
  fill.timestamp, fill.page_ends_early
FROM ({page}) AS fill
LEFT JOIN LATERAL (
  SELECT stored.idempotency_key FROM orders_order AS stored WHERE stored.order_id = fill.order_id LIMIT 1
) AS placed ON true
JOIN instruments_instrument AS instrument ON instrument.id = fill.instrument_id
ORDER BY fill.timestamp {direction}, fill.trade_id {direction}, fill.role {direction}
"""


def list_fills(query: FillQuery) -> FillPage | None:
    """Return a page of fills, which is empty only if no more fills follow.

    Returns None if the query names an order that does not exist, or that is another client's.
    """
    if query.order_id is not None:
        order = find_order_row(query.order_id)
        if order is None or query.client_id not in (None, order.client_id):
            return None
        if query.instrument_id not in (None, order.instrument_id):
            return FillPage([], None)
    with connection.cursor() as cursor:
        cursor.execute(fill_page_sql(query), fill_page_parameters(query))
        rows = cursor.fetchall()
    limit = query.bounds.limit
    page = rows[:limit]
    more = len(rows) > limit or any(row[-1] for row in rows[:1])
    return FillPage([_document(row) for row in page], _position(page[-1]) if more else None)


def fill_page_parameters(query: FillQuery) -> dict[str, Any]:
    """Return the parameters of the statement."""
    return {
        **query.bounds.parameters(),
        "client": query.client_id,
        "order": query.order_id,
        "instrument": query.instrument_id,
    }


def fill_page_sql(query: FillQuery) -> str:
    """Return the statement for the query's combination of filters."""
    if query.order_id is not None:
        lists, sources = _LISTS_OF_AN_ORDER, _OF_AN_ORDER
    elif query.instrument_id is not None:
        lists, sources = _LISTS_IN_AN_INSTRUMENT, _OF_A_CLIENT
    else:
        lists, sources = _LISTS_OF_A_CLIENT, _OF_A_CLIENT
    oldest_first = query.bounds.oldest_first
    page = page_sql(lists, sources, oldest_first=oldest_first)
    return _FILLS.format(page=page, direction="ASC" if oldest_first else "DESC")


def _document(row: tuple[Any, ...]) -> ListedFillDocument:
    trade_id, order_id, idempotency_key, symbol, price, quantity, side, role, sequence, timestamp, _ = row
    return ListedFillDocument(
        trade_id=trade_id,
        order_id=order_id,
        idempotency_key=idempotency_key,
        instrument=symbol,
        price=json_number(price),
        quantity=json_number(quantity),
        side=side,
        liquidity=role,
        sequence=sequence,
        timestamp=time_text(timestamp),
    )


def _position(row: tuple[Any, ...]) -> Position:
    trade_id, *_, role, _sequence, timestamp, _ends_early = row
    return Position(timestamp, trade_id, role)
