"""Answers about several orders, as JSON, for REST and the stream."""

from collections.abc import Sequence
from typing import Annotated

import msgspec

from base.documents import Number, TimeText, UuidText, described
from base.encoding import encode_json
from base.numbers import json_decimal, json_optional_decimal
from base.refusals import Refusal
from base.times import time_text
from orders.desk import MassCancelResult, OrderResult
from orders.fields import ClientId, OrderTypeName, SelfTradePreventionName, SideName, TimeInForceName
from orders.requests import OrderRequest
from web.errors import refusal_result


class CancelledDocument(msgspec.Struct, kw_only=True):
    """The result of a request that cancels several orders."""

    cancelled: Annotated[list[UuidText], described(description="at most 10,000 of the cancelled orders")]
    cancelled_count: int
    not_open: list[UuidText]
    not_found: Annotated[
        list[str], described(description="order ids, or the idempotency key, that no order has")
    ]


class SwitchDocument(msgspec.Struct, kw_only=True):
    """A client's dead man's switch."""

    client_id: ClientId
    timeout_seconds: int
    cancel_at: TimeText | None


class CheckedOrderDocument(msgspec.Struct, kw_only=True):
    """An order as it would be sent, with all defaults filled in."""

    client_id: ClientId
    instrument: str
    side: SideName
    order_type: OrderTypeName = msgspec.field(name="type")
    price: Number | None
    quantity: Number
    idempotency_key: str | None
    time_in_force: TimeInForceName
    expires_at: TimeText | None
    post_only: bool
    self_trade_prevention: SelfTradePreventionName
    trigger_price: Number | None


def checked_order(order: OrderRequest) -> CheckedOrderDocument:
    """Return an order as it would be sent."""
    return CheckedOrderDocument(
        client_id=order.client_id,
        instrument=order.instrument.symbol,
        side=order.side,
        order_type=order.order_type,
        price=json_optional_decimal(order.price),
        quantity=json_decimal(order.quantity),
        idempotency_key=order.idempotency_key,
        time_in_force=order.time_in_force,
        expires_at=None if order.expires_at is None else time_text(order.expires_at),
        post_only=order.post_only,
        self_trade_prevention=order.prevention,
        trigger_price=json_optional_decimal(order.trigger_price),
    )


def cancelled_document(result: MassCancelResult) -> CancelledDocument:
    """Return the result of a request that cancels several orders."""
    return CancelledDocument(
        cancelled=result.cancelled,
        cancelled_count=result.cancelled_count,
        not_open=result.not_open,
        not_found=result.not_found,
    )


def results_json(results: Sequence[OrderResult | Refusal], created_status: int) -> bytes:
    """Return the JSON list of the results of several orders or amends.

    `created_status` is the status of an order that was not placed by an earlier request.
    """
    return b"[%s]" % b",".join([result_json(result, created_status) for result in results])


def result_json(result: OrderResult | Refusal, created_status: int) -> bytes:
    """Return the JSON object of one result."""
    if isinstance(result, Refusal):
        status, error = refusal_result(result)
        return b'{"status":%d,"error":%s}' % (status, encode_json(error))
    if result.replayed:
        return b'{"status":200,"replayed":true,"order":%s}' % result.body
    return b'{"status":%d,"order":%s}' % (created_status, result.body)
