"""Reads the rows of GET /orders. Every combination of filters has a matching index.

The table holds many millions of orders. A scan that filters rows could take very long, and would
miss orders if it were cut off. Two indexes, (client_id, instrument, status, created_at) and
(instrument, status, created_at), hold the orders of one client, or of all clients, as lists in the
order of their times: see orders/time_lists.py. If a filter is left out, several lists match. There
are only a few statuses, and the instruments that a client has traded are found by jumps from one
list to the next.
"""

from collections.abc import Collection
from typing import Any, NamedTuple

from orders.models import Order, OrderStatus
from orders.time_lists import PageBounds, Source, page_sql


class OrderQuery(NamedTuple):
    """The wanted orders, and the bounds of the page. A filter that is None is left out."""

    client_id: str | None = None
    instrument_id: int | None = None
    statuses: Collection[str] | None = None
    bounds: PageBounds = PageBounds()

    def matches(self, order: Order) -> bool:
        """Return whether the query's filters, without the position of its page, match an order."""
        start, end = self.bounds.times
        return (
            self.client_id in (None, order.client_id)
            and self.instrument_id in (None, order.instrument_id)
            and (self.statuses is None or order.status in self.statuses)
            and (start is None or start <= order.created_at)
            and (end is None or order.created_at < end)
        )


class RowPage(NamedTuple):
    """Some orders with their instruments. `more` is set if others may follow."""

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
_OF_ALL_CLIENTS = Source(
    table="orders_order",
    columns=("instrument_id", "status"),
    values=("list.instrument_id", "list.status"),
    time="created_at",
    key="order_id",
    selected="listed.*, '' AS role",
)
_OF_ONE_CLIENT = _OF_ALL_CLIENTS._replace(
    columns=("client_id", *_OF_ALL_CLIENTS.columns),
    values=("%(client)s::varchar", *_OF_ALL_CLIENTS.values),
)


def list_order_rows(query: OrderQuery) -> RowPage:
    """Return the orders of a page."""
    found = Order.objects.raw(order_page_sql(query), order_page_parameters(query))
    rows: list[Any] = list(found.prefetch_related("instrument"))
    limit = query.bounds.limit
    return RowPage(rows[:limit], len(rows) > limit or any(row.page_ends_early for row in rows[:1]))


def order_page_parameters(query: OrderQuery) -> dict[str, Any]:
    """Return the parameters of the statement."""
    return {
        **query.bounds.parameters(),
        "client": query.client_id,
        "instrument": query.instrument_id,
        "statuses": list(OrderStatus.values if query.statuses is None else query.statuses),
    }


def order_page_sql(query: OrderQuery) -> str:
    """Return the statement for the query's combination of filters."""
    is_of_one_client = query.client_id is not None
    lists = _CLIENTS_LISTS if is_of_one_client and query.instrument_id is None else _CHOSEN_LISTS
    source = _OF_ONE_CLIENT if is_of_one_client else _OF_ALL_CLIENTS
    return page_sql(lists, [source], oldest_first=query.bounds.oldest_first)
