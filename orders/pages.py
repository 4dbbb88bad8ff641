"""Reads the rows of GET /orders, newest first. Every combination of filters has a matching index.

The table holds many millions of orders. A scan that filters rows could take very long, and would
miss orders if it were cut off. Two indexes, (client_id, instrument, status, order_id) and
(instrument, status, order_id), hold the orders of one client, or of all clients, as lists. Each
list is sorted by order id. If a filter is left out, several lists match and their newest entries
are merged. There are only a few statuses, and the instruments that a client has traded are found by
jumps from one list to the next.

Invariants: at most PAGE_ROWS_MERGED_MAX entries are read, or one for each list if there are more
lists. A page is empty only if no more orders follow.

The conditions compare row values. PostgreSQL can then use no other index, even if its statistics
are outdated because the table has just grown.
"""

from typing import Any, NamedTuple
from uuid import UUID

from django.conf import settings

from orders.models import Order, OrderStatus

_BEFORE_ALL = UUID(int=0)
_AFTER_ALL = UUID(int=2**128 - 1)


class OrderQuery(NamedTuple):
    """At most `limit` orders with lower ids than `before`. A filter that is None is left out."""

    client_id: str | None
    instrument_id: int | None
    status: str | None
    before: UUID | None
    limit: int


class RowPage(NamedTuple):
    """Some orders, newest first, with their instruments. `more` is set if others may follow."""

    rows: list[Order]
    more: bool


# The lists of all instruments, or of the given one, with the chosen statuses.
_CHOSEN_LISTS = """
list AS MATERIALIZED (
  SELECT instrument.id AS instrument_id, chosen.status::varchar
  FROM instruments_instrument AS instrument, unnest(%(statuses)s::varchar[]) AS chosen(status)
  WHERE %(instrument)s::bigint IS NULL OR instrument.id = %(instrument)s
)
"""
# The lists of one client. Each step of the recursion jumps to the first order of the next list.
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
SELECT *, false AS page_ends_early FROM orders_order
WHERE order_id < %(before)s ORDER BY order_id DESC LIMIT %(rows)s
"""
# If the maximum number of entries was read from a list, more entries may follow its last one. The
# page must end there.
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


def list_order_rows(query: OrderQuery) -> RowPage:
    """Return the orders of a page."""
    found = Order.objects.raw(page_sql(query), page_parameters(query)).prefetch_related("instrument")
    rows: list[Any] = list(found)
    more = len(rows) > query.limit or any(row.page_ends_early for row in rows[:1])
    return RowPage(rows[: query.limit], more)


def page_parameters(query: OrderQuery) -> dict[str, Any]:
    """Return the parameters of every statement.

    One row more than the limit is read, to find out whether more rows follow.
    """
    return {
        "client": query.client_id,
        "instrument": query.instrument_id,
        "statuses": list(OrderStatus.values) if query.status is None else [query.status],
        "before": query.before or _AFTER_ALL,
        "after": _BEFORE_ALL,
        "rows": query.limit + 1,
        "merged_max": settings.PAGE_ROWS_MERGED_MAX,
    }


def page_sql(query: OrderQuery) -> str:
    """Return the statement for the query's combination of filters."""
    if query.client_id is None and query.instrument_id is None and query.status is None:
        return _NEWEST_SQL
    is_of_one_client = query.client_id is not None
    lists = _CLIENTS_LISTS if is_of_one_client and query.instrument_id is None else _CHOSEN_LISTS
    return _PAGE_SQL.format(lists=lists, newest=_OF_ONE_CLIENT if is_of_one_client else _OF_ALL_CLIENTS)
