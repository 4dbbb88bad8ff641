"""Reads the query parameters of GET /orders and GET /fills."""

from typing import NamedTuple

from django.http import QueryDict

from base.refusals import InvalidRequest
from instruments.directory import directory
from orders.fields import CLIENT_ID_PATTERN, CLIENT_ID_RULE, ORDER_ID_PATTERN
from orders.fill_pages import FillQuery
from orders.models import FINISHED_STATUSES, RESTING_STATUSES, OrderStatus
from orders.pages import OrderQuery
from orders.serializers import idempotency_key_field
from orders.time_lists import PageBounds, parse_position
from web.listing import is_oldest_first, listing_filters, read_time_range
from web.pagination import CursorQuery, read_limit

STATUS_GROUPS = {"resting": RESTING_STATUSES, "finished": FINISHED_STATUSES}
LISTED_STATUSES = (*OrderStatus.values, *STATUS_GROUPS)
"""The values of the parameter `status`: statuses, and names for several of them."""

_idempotency_key = idempotency_key_field()


class OrderListRequest(NamedTuple):
    """The wanted orders. With an idempotency key there is at most one."""

    query: OrderQuery
    idempotency_key: str | None
    cursors: CursorQuery


class FillListRequest(NamedTuple):
    """The wanted fills."""

    query: FillQuery
    cursors: CursorQuery


async def read_order_list(query: QueryDict) -> OrderListRequest:
    """Check the parameters of GET /orders. Raises InvalidRequest, InstrumentNotFound, Unavailable."""
    client_id, statuses = _read_client_id(query), _read_statuses(query.getlist("status"))
    idempotency_key = _read_idempotency_key(query)
    instrument_id = await _read_instrument_id(query)
    bounds, cursors = _read_bounds(
        query,
        "orders",
        client_id=client_id,
        instrument=query.get("instrument"),
        status=None if statuses is None else ",".join(statuses),
        idempotency_key=idempotency_key,
    )
    return OrderListRequest(OrderQuery(client_id, instrument_id, statuses, bounds), idempotency_key, cursors)


async def read_fill_list(query: QueryDict) -> FillListRequest:
    """Check the parameters of GET /fills. Raises InvalidRequest, InstrumentNotFound, Unavailable."""
    client_id, order_id = _read_client_id(query), _read_order_id(query)
    if client_id is None and order_id is None:
        message = "client_id, order_id or both are required."
        raise InvalidRequest(fields={"client_id": [message], "order_id": [message]})
    instrument_id = await _read_instrument_id(query)
    bounds, cursors = _read_bounds(
        query, "fills", client_id=client_id, order_id=order_id, instrument=query.get("instrument")
    )
    return FillListRequest(FillQuery(client_id, order_id, instrument_id, bounds), cursors)


def _read_bounds(query: QueryDict, listing: str, **filters: str | None) -> tuple[PageBounds, CursorQuery]:
    times, oldest_first = read_time_range(query), is_oldest_first(query)
    cursors = CursorQuery(listing, **filters, **listing_filters(times, oldest_first=oldest_first))
    after = cursors.decode(query.get("cursor"), parse_position)
    return PageBounds(times, oldest_first, after, read_limit(query)), cursors


def _read_client_id(query: QueryDict) -> str | None:
    client_id = query.get("client_id")
    if client_id is not None and not CLIENT_ID_PATTERN.fullmatch(client_id):
        raise InvalidRequest(fields={"client_id": [CLIENT_ID_RULE]})
    return client_id


def _read_statuses(values: list[str]) -> tuple[str, ...] | None:
    """Return the wanted statuses in the order of OrderStatus, or None for all of them."""
    wanted: set[str] = set()
    for value in values:
        if value not in LISTED_STATUSES:
            raise InvalidRequest(fields={"status": [f"Must be one of: {', '.join(LISTED_STATUSES)}."]})
        wanted.update(STATUS_GROUPS.get(value, (value,)))
    return tuple(status for status in OrderStatus.values if status in wanted) if values else None


def _read_idempotency_key(query: QueryDict) -> str | None:
    text = query.get("idempotency_key")
    if text is None:
        return None
    if "client_id" not in query:
        raise InvalidRequest(fields={"client_id": ["Is required with idempotency_key."]})
    try:
        key: str = _idempotency_key.to_internal_value(text)
    except ValueError as error:
        raise InvalidRequest(fields={"idempotency_key": [str(error)]}) from None
    return key


def _read_order_id(query: QueryDict) -> str | None:
    text = query.get("order_id")
    if text is None:
        return None
    if not ORDER_ID_PATTERN.fullmatch(text):
        raise InvalidRequest(fields={"order_id": ["A UUID is required."]})
    return text.lower()


async def _read_instrument_id(query: QueryDict) -> int | None:
    symbol = query.get("instrument")
    return None if symbol is None else (await directory.get(symbol)).instrument_id
