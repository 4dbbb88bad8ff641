"""REST views of orders."""

import time
from uuid import UUID

from rest_framework.request import Request

from base.database import read_database
from orders import list_schema, metrics, schema
from orders.desk import OrderResult, current_desk, no_such_order
from orders.fields import ORDER_ID_PATTERN
from orders.fill_pages import list_fills
from orders.list_requests import read_fill_list, read_order_list
from orders.reading import cancel_order, header_key, read_amend, read_order
from orders.selectors import find_listed_order, find_order, list_orders
from web.content import JSONResponse
from web.errors import allowance_headers
from web.schema import operation
from web.viewset import AsyncViewSet


class OrderViewSet(AsyncViewSet):
    """Orders of all clients."""

    @operation(**schema.PLACE_ORDER)
    async def create(self, request: Request) -> JSONResponse:
        """Place an order. The answer is sent after the order and its trades are committed."""
        started = time.perf_counter()
        order = await read_order(request.data, key_in_header=header_key(request.META))
        result = await current_desk().place(order)
        metrics.latency_seconds.add(time.perf_counter() - started)
        return _order_response(result, created=True)

    @operation(**schema.CANCEL_ORDER)
    async def cancel(self, request: Request, order_id: str) -> JSONResponse:
        """Cancel an open or pending order. The answer is sent after the cancel is committed."""
        started = time.perf_counter()
        owner = cancel_order.run_validation(request.data)["client_id"]
        result = await current_desk().cancel_by_id(_parse_order_id(order_id), owner=owner)
        metrics.cancel_latency_seconds.add(time.perf_counter() - started)
        return _order_response(result, created=False)

    @operation(**schema.AMEND_ORDER)
    async def amend(self, request: Request, order_id: str) -> JSONResponse:
        """Change an open or pending order. The answer is sent after the change is committed."""
        result = await current_desk().amend_by_id(_parse_order_id(order_id), read_amend(request.data))
        return _order_response(result, created=False)

    @operation(**schema.RETRIEVE_ORDER)
    async def retrieve(self, request: Request, order_id: str) -> JSONResponse:
        """An order with its trades."""
        document = await read_database(find_order, _parse_order_id(order_id))
        if document is None:
            raise no_such_order()
        return JSONResponse(document)

    @operation(**list_schema.LIST_ORDERS)
    async def list(self, request: Request) -> JSONResponse:
        """Return orders, newest first unless `sort` says otherwise."""
        asked = await read_order_list(request.query_params)
        if asked.idempotency_key is None:
            page = await read_database(list_orders, asked.query)
        else:
            page = await read_database(find_listed_order, asked.idempotency_key, asked.query)
        return JSONResponse({"orders": page.orders, "next_cursor": asked.cursors.next(page.after)})


class FillViewSet(AsyncViewSet):
    """Orders' halves of trades."""

    @operation(**list_schema.LIST_FILLS)
    async def list(self, request: Request) -> JSONResponse:
        """Return fills, newest first unless `sort` says otherwise."""
        asked = await read_fill_list(request.query_params)
        page = await read_database(list_fills, asked.query)
        if page is None:
            raise no_such_order()
        return JSONResponse({"fills": page.fills, "next_cursor": asked.cursors.next(page.after)})


def _order_response(result: OrderResult, *, created: bool) -> JSONResponse:
    headers = allowance_headers(result.allowance)
    if result.replayed:
        headers["Idempotency-Replayed"] = "true"
    return JSONResponse(result.body, status=201 if created and not result.replayed else 200, headers=headers)


def _parse_order_id(text: str) -> UUID:
    if not ORDER_ID_PATTERN.fullmatch(text):
        raise no_such_order()
    return UUID(text)
