"""REST views that place, amend or cancel several orders with one request."""

from collections.abc import Sequence
from uuid import UUID

from rest_framework.request import Request

from base.refusals import InvalidRequest, Refusal
from base.times import time_text
from orders import mass_schema as schema
from orders.answers import (
    SwitchDocument,
    cancelled_document,
    checked_order,
    results_json,
)
from orders.desk import OrderResult, current_desk, least_allowance
from orders.reading import (
    cancel_after,
    cancel_orders,
    header_key,
    read_amends,
    read_instrument,
    read_order,
    read_orders,
)
from web.content import JSONResponse
from web.errors import allowance_headers, retry_headers
from web.schema import operation
from web.viewset import AsyncViewSet


class MassOrderViewSet(AsyncViewSet):
    """Several orders in one request."""

    @operation(**schema.PLACE_ORDERS)
    async def place(self, request: Request) -> JSONResponse:
        """Place up to 100 orders. Each has its own result: they do not depend on each other."""
        if "HTTP_IDEMPOTENCY_KEY" in request.META:
            raise InvalidRequest(
                fields={"Idempotency-Key": ["Give each order of a batch an idempotency_key of its own."]}
            )
        return _results(await current_desk().place_many(await read_orders(request.data)), 201)

    @operation(**schema.AMEND_ORDERS)
    async def amend(self, request: Request) -> JSONResponse:
        """Amend up to 100 orders. Each has its own result: they do not depend on each other."""
        return _results(await current_desk().amend_many(await read_amends(request.data)), 200)

    @operation(**schema.TEST_ORDER)
    async def test(self, request: Request) -> JSONResponse:
        """Check an order as POST /orders does, and take nothing."""
        order = await read_order(request.data, key_in_header=header_key(request.META))
        current_desk().check(order)
        return JSONResponse(checked_order(order))

    @operation(**schema.CANCEL_ORDERS)
    async def cancel(self, request: Request) -> JSONResponse:
        """Cancel several orders: by their ids, by a key, or everything of a client."""
        fields = cancel_orders.run_validation(request.data)
        desk, client_id = current_desk(), fields["client_id"]
        if fields["order_ids"] is not None:
            result = await desk.cancel_by_ids([UUID(text) for text in fields["order_ids"]], owner=client_id)
        elif fields["idempotency_key"] is not None:
            result = await desk.cancel_by_key(client_id, fields["idempotency_key"])
        else:
            symbol = fields["instrument"]
            instrument = None if symbol is None else await read_instrument(symbol)
            result = await desk.cancel_all(client_id, instrument=instrument, side=fields["side"])
        return JSONResponse(cancelled_document(result), headers=allowance_headers(result.allowance))

    @operation(**schema.CANCEL_AFTER)
    async def cancel_after(self, request: Request) -> JSONResponse:
        """Set a client's dead man's switch: when it runs out, its orders are cancelled."""
        fields = cancel_after.run_validation(request.data)
        result = await current_desk().cancel_after(fields["client_id"], fields["timeout_seconds"])
        document = SwitchDocument(
            client_id=fields["client_id"],
            timeout_seconds=fields["timeout_seconds"],
            cancel_at=None if result.cancel_at is None else time_text(result.cancel_at),
        )
        return JSONResponse(document, headers=allowance_headers(result.allowance))


def _results(results: Sequence[OrderResult | Refusal], created_status: int) -> JSONResponse:
    body = b'{"results":%s}' % results_json(results, created_status)
    allowance = least_allowance(result.allowance for result in results)
    refusals = [result for result in results if isinstance(result, Refusal)]
    return JSONResponse(body, headers=allowance_headers(allowance) | retry_headers(refusals))
