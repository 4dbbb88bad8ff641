"""Turns the data of a client's request, over REST or on the stream, into a validated request.

Every function raises InvalidRequest with the fields that are invalid.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar
from uuid import UUID

from base.refusals import InvalidRequest, Refusal
from instruments.directory import TradedInstrument, directory
from instruments.refusals import InstrumentNotFound
from orders.requests import AmendOne, AmendRequest, OrderRequest
from orders.serializers import (
    AmendOneSerializer,
    AmendOrderSerializer,
    AmendOrdersSerializer,
    CancelAfterSerializer,
    CancelOnDisconnectSerializer,
    CancelOneSerializer,
    CancelOrderSerializer,
    CancelOrdersSerializer,
    PlaceOrderSerializer,
    PlaceOrdersSerializer,
)

place_order = PlaceOrderSerializer()
place_orders = PlaceOrdersSerializer()
cancel_order = CancelOrderSerializer()
cancel_one = CancelOneSerializer()
cancel_orders = CancelOrdersSerializer()
cancel_after = CancelAfterSerializer()
cancel_on_disconnect = CancelOnDisconnectSerializer()
amend_order = AmendOrderSerializer()
amend_orders = AmendOrdersSerializer()
amend_one = AmendOneSerializer()

Request = TypeVar("Request")


async def read_order(data: Any, *, key_in_header: str | None = None) -> OrderRequest:
    """Return an order. A key beside the body must not contradict the body.

    Raises Unavailable if the instruments can't be read.
    """
    fields = place_order.run_validation(data)
    if key_in_header is not None:
        if fields["idempotency_key"] not in (None, key_in_header):
            raise InvalidRequest(
                fields={"idempotency_key": ["The header Idempotency-Key has another key than the body."]}
            )
        fields["idempotency_key"] = key_in_header
    instrument = await read_instrument(fields.pop("instrument"))
    return OrderRequest(instrument=instrument, order_type=fields.pop("type"), **fields)


def header_key(headers: Mapping[str, Any]) -> str | None:
    """Return the idempotency key in the headers of a request, as CGI names them, or None.

    Django decodes headers as Latin-1, but the key is UTF-8, as in a body.
    """
    header: str | None = headers.get("HTTP_IDEMPOTENCY_KEY")
    if header is None:
        return None
    try:
        # Whitespace around a header's value is not part of it (RFC 9110, section 5.5).
        text = header.strip(" \t").encode("latin-1").decode()
        key: str = place_order.fields["idempotency_key"].to_internal_value(text)
    except UnicodeError:
        raise InvalidRequest(fields={"idempotency_key": ["The header must be UTF-8."]}) from None
    except ValueError as error:
        raise InvalidRequest(fields={"idempotency_key": [str(error)]}) from None
    return key


async def read_orders(data: Any) -> list[OrderRequest | Refusal]:
    """Return the orders of a batch, with the refusal of each invalid one in its place."""
    return await _each(place_orders.run_validation(data)["orders"], read_order)


async def read_amends(data: Any) -> list[AmendOne | Refusal]:
    """Return several amends, with the refusal of each invalid one in its place."""
    return await _each(amend_orders.run_validation(data)["amends"], read_amend_one)


async def read_amend_one(data: Any) -> AmendOne:
    """Return an amend that names its order."""
    fields = amend_one.run_validation(data)
    order_id, key = fields.pop("order_id"), fields.pop("idempotency_key")
    return AmendOne(
        None if order_id is None else UUID(order_id),
        None if key is None else (fields["client_id"], key),
        AmendRequest(**fields),
    )


def read_amend(data: Any) -> AmendRequest:
    """Return the changes of one order."""
    return AmendRequest(**amend_order.run_validation(data))


async def read_instrument(symbol: str) -> TradedInstrument:
    """Return the instrument that a body names. Raises Unavailable."""
    try:
        return await directory.get(symbol)
    except InstrumentNotFound as error:
        raise InvalidRequest(fields={"instrument": [error.message]}) from None


async def _each(items: Sequence[Any], read: Callable[[Any], Awaitable[Request]]) -> list[Request | Refusal]:
    requests: list[Request | Refusal] = []
    for item in items:
        try:
            requests.append(await read(item))
        except Refusal as refusal:
            requests.append(refusal)
    return requests
