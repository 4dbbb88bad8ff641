"""The rows of GET /orders: each combination of filters is read from an index that fits it, newest first.

The table holds many millions of orders of any clients, instruments and statuses: a scan that filters would hide
what it does not reach, or take for ever. Two indexes, (client_id, instrument, status, order_id) and (instrument,
status, order_id), hold the orders of one client, or of all, as lists, each in the order of their ids. A filter that
is left out means several lists, of which the newest entries are merged: there are only a few statuses, and the
instruments that a client has traded are found by jumping from one list to the next.

Invariant: what is read is bounded by PAGE_ROWS_MERGED_MAX, or by the number of lists if they are more, and a page
is only empty if nothing more follows.

The conditions compare whole rows of columns: PostgreSQL then has no other index to choose, whatever its statistics
say about a table that has just grown.
"""

from typing import Any, NamedTuple
from uuid import UUID

from django.conf import settings

from orders.models import Order, OrderStatus

_BEFORE_ALL = UUID(int=0)
_AFTER_ALL = UUID(int=2**128 - 1)


class RowPage(NamedTuple):
    """Some orders, newest first, each with its instrument; `more` may follow."""

    rows: list[Order]
    more: bool


# The lists of the instruments of all clients, or of the given one.
_CHOSEN_LISTS = """
list AS MATERIALIZED (
  SELECT instrument.id AS instrument_id, chosen.status::varchar
  FROM orders_instrument AS instrument, unnest(%(statuses)s::varchar[]) AS chosen(status)
  WHERE %(instrument)s::bigint IS NULL OR instrument.id = %(instrument)s
)
"""
# Those that a client has: each step jumps over all orders of a list to the first one of the next.
_CLIENTS_LISTS = """
RECURSIVE found_list AS (
  (
    SELECT client_id, instrument_id, status FROM orders_order
    WHERE (client_id, instrument_id) >= (%(client)s::varchar, 0::bigint)
    ORDER BY client_id, instrument_id, status LIMIT 1
  )
  UNION ALL
  SELECT next_list.* FROM found_list CROSS JOIN LATERAL (
    SELECT client_id, instrument_id, status FROM orders_order
    WHERE (client_id, instrument_id, status)
        > (found_list.client_id, found_list.instrument_id, found_list.status)
    ORDER BY client_id, instrument_id, status LIMIT 1
  ) AS next_list
  WHERE found_list.client_id = %(client)s
),
list AS MATERIALIZED (
  SELECT instrument_id, status FROM found_list
  WHERE client_id = %(client)s AND status = ANY(%(statuses)s)
)
"""
_OF_ALL_CLIENTS = """
SELECT order_id FROM orders_order AS listed
WHERE (listed.instrument_id, listed.status, listed.order_id) < (list.instrument_id, list.status, %(before)s::uuid)
  AND (listed.instrument_id, listed.status, listed.order_id) > (list.instrument_id, list.status, %(after)s::uuid)
ORDER BY listed.instrument_id DESC, listed.status DESC, listed.order_id DESC
"""
_OF_ONE_CLIENT = """
SELECT order_id FROM orders_order AS listed
WHERE (listed.client_id, listed.instrument_id, listed.status, listed.order_id)
    < (%(client)s, list.instrument_id, list.status, %(before)s::uuid)
  AND (listed.client_id, listed.instrument_id, listed.status, listed.order_id)
    > (%(client)s, list.instrument_id, list.status, %(after)s::uuid)
ORDER BY listed.client_id DESC, listed.instrument_id DESC, listed.status DESC, listed.order_id DESC
"""
_NEWEST_SQL = """
SELECT * FROM orders_order WHERE order_id < %(before)s ORDER BY order_id DESC LIMIT %(rows)s
"""
# A list of which as many entries were read as may be has more behind its last one: there the page ends.
_PAGE_SQL = """
WITH {lists},
share AS MATERIALIZED (
  SELECT greatest(1, least(%(rows)s, %(merged_max)s / greatest(1, count(*)))) AS entries FROM list
),
entry AS MATERIALIZED (
  SELECT newest.order_id, newest.rank = (SELECT entries FROM share) AS ends_the_page
  FROM list CROSS JOIN LATERAL (
    SELECT order_id, row_number() OVER () AS rank FROM ({newest} LIMIT (SELECT entries FROM share)) AS read
  ) AS newest
),
page_end AS MATERIALIZED (
  SELECT order_id FROM entry WHERE ends_the_page ORDER BY order_id DESC LIMIT 1
),
page AS MATERIALIZED (
  SELECT order_id FROM entry
  WHERE order_id >= coalesce((SELECT order_id FROM page_end), %(after)s::uuid)
  ORDER BY order_id DESC LIMIT %(rows)s
)
SELECT found.*, EXISTS (SELECT FROM page_end) AS page_ends_early
FROM page CROSS JOIN LATERAL (
  SELECT * FROM orders_order WHERE orders_order.order_id = page.order_id LIMIT 1
) AS found
ORDER BY found.order_id DESC
"""


def list_order_rows(
    *,
    client_id: str | None,
    instrument_id: int | None,
    status: str | None,
    before: UUID | None,
    limit: int,
) -> RowPage:
    """At most `limit` orders with lower ids than `before`."""
    parameters = page_parameters(
        client_id=client_id, instrument_id=instrument_id, status=status, before=before, limit=limit
    )
    rows: list[Any]
    if client_id is None and instrument_id is None and status is None:
        rows = list(Order.objects.raw(_NEWEST_SQL, parameters).prefetch_related("instrument"))
        return RowPage(rows[:limit], len(rows) > limit)
    sql = page_sql(client_id=client_id, instrument_id=instrument_id)
    rows = list(Order.objects.raw(sql, parameters).prefetch_related("instrument"))
    return RowPage(rows[:limit], len(rows) > limit or any(row.page_ends_early for row in rows[:1]))


def page_parameters(
    *,
    client_id: str | None,
    instrument_id: int | None,
    status: str | None,
    before: UUID | None,
    limit: int,
) -> dict[str, Any]:
    """Those of every statement; one row more than the limit is read, to know whether more follow."""
    return {
        "client": client_id,
        "instrument": instrument_id,
        "statuses": list(OrderStatus.values) if status is None else [status],
        "before": before or _AFTER_ALL,
        "after": _BEFORE_ALL,
        "rows": limit + 1,
        "merged_max": settings.PAGE_ROWS_MERGED_MAX,
    }


def page_sql(*, client_id: str | None, instrument_id: int | None) -> str:
    """The statement for filters of which these are given."""
    lists = _CHOSEN_LISTS if client_id is None or instrument_id is not None else _CLIENTS_LISTS
    return _PAGE_SQL.format(lists=lists, newest=_OF_ALL_CLIENTS if client_id is None else _OF_ONE_CLIENT)
