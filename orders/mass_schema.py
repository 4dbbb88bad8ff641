"""OpenAPI descriptions of the views of several orders."""

from typing import Any

from instruments.schema import INSTRUMENT_HALTED
from orders.answers import CancelledDocument, CheckedOrderDocument, SwitchDocument
from orders.documents import OrderDocument
from orders.schema import KEY_HEADER, LIMIT_ORDER, ORDER_EXAMPLE, RATE_LIMITED
from orders.serializers import (
    AmendOneSerializer,
    AmendOrdersSerializer,
    CancelAfterSerializer,
    CancelOrdersSerializer,
    PlaceOrderSerializer,
    PlaceOrdersSerializer,
)
from web.schema import ERROR, ORDERS_TAG, RETRY_AFTER, Schema, answer, document, errors, sent

_UNKNOWN_ID = "01990000-0000-7000-8000-000000000000"
_REFUSED_EXAMPLE = {
    "status": 400,
    "error": {
        "code": "invalid_request",
        "message": "The request is not valid.",
        "fields": {"price": ["Must be a multiple of 0.01."]},
    },
}
_CHECKED_FIELDS = ("client_id", "instrument", "side", "type", "price", "quantity", "idempotency_key")


def _results(description: str) -> Schema:
    """Return the schema of the results of several requests."""
    results = {
        "type": "array",
        "description": description,
        "items": {
            "type": "object",
            "properties": {
                "status": {"type": "integer", "description": "as if the request had been sent alone"},
                "replayed": {
                    "type": "boolean",
                    "enum": [True],
                    "description": "placed by an earlier request",
                },
                "order": document(OrderDocument),
                "error": ERROR["properties"]["error"],  # type: ignore[index]
            },
            "required": ["status"],
            "additionalProperties": False,
        },
    }
    return {
        "type": "object",
        "properties": {"results": results},
        "required": ["results"],
        "additionalProperties": False,
    }


_COMMON_ERRORS = (
    *("invalid_request", "not_json", "forbidden", "unsupported_media_type", "rate_limited"),
    "outcome_unknown",
)

PLACE_ORDERS: dict[str, Any] = {
    "operation_id": "place_orders",
    "summary": "Place up to 100 orders",
    "tags": [ORDERS_TAG],
    "parameters": RATE_LIMITED,
    "request": {
        "application/json": PlaceOrdersSerializer().described_with(
            "orders", PlaceOrderSerializer().described()
        )
    },
    "examples": [
        sent("two", {"orders": [LIMIT_ORDER, {**LIMIT_ORDER, "price": 70150.505}]}, 200, "one is refused"),
        sent("none", {"orders": []}, 400, "no orders"),
    ],
    "responses": {
        200: answer(
            _results("one for each order, in the order of the request"),
            "the result of each order",
            {"results": [{"status": 201, "order": ORDER_EXAMPLE}, _REFUSED_EXAMPLE]},
        ),
        **errors(*_COMMON_ERRORS),
    },
}
AMEND_ORDERS: dict[str, Any] = {
    "operation_id": "amend_orders",
    "summary": "Amend up to 100 orders",
    "tags": [ORDERS_TAG],
    "parameters": RATE_LIMITED,
    "request": {
        "application/json": AmendOrdersSerializer().described_with("amends", AmendOneSerializer().described())
    },
    "examples": [
        sent("unknown", {"amends": [{"order_id": _UNKNOWN_ID, "price": 70151}]}, 200, "an unknown order"),
        sent("none", {"amends": []}, 400, "no amends"),
    ],
    "responses": {
        200: answer(
            _results("one for each amend, in the order of the request"),
            "the result of each amend",
            {"results": [{"status": 200, "order": {**ORDER_EXAMPLE, "price": 70151}}, _REFUSED_EXAMPLE]},
        ),
        **errors(*_COMMON_ERRORS),
    },
}
TEST_ORDER: dict[str, Any] = {
    "operation_id": "test_order",
    "summary": "Check an order without placing it",
    "tags": [ORDERS_TAG],
    "parameters": [KEY_HEADER, RETRY_AFTER],
    "request": {"application/json": PlaceOrderSerializer().described()},
    "examples": [
        sent("limit", LIMIT_ORDER, 200, "a limit order"),
        sent("off the tick", {**LIMIT_ORDER, "price": 70150.505}, 400, "a price off the tick"),
    ],
    "responses": {
        200: answer(
            document(CheckedOrderDocument),
            "the order as it would be sent, with all defaults filled in",
            {
                **{name: ORDER_EXAMPLE[name] for name in _CHECKED_FIELDS},
                "time_in_force": "gtc",
                "expires_at": None,
                "post_only": False,
                "self_trade_prevention": "none",
                "trigger_price": None,
            },
        ),
        **errors("invalid_request", "not_json", "forbidden", INSTRUMENT_HALTED, "unsupported_media_type"),
    },
}
CANCEL_ORDERS: dict[str, Any] = {
    "operation_id": "cancel_orders",
    "summary": "Cancel several orders",
    "tags": [ORDERS_TAG],
    "parameters": RATE_LIMITED,
    "request": {"application/json": CancelOrdersSerializer().described()},
    "examples": [
        sent("by ids", {"order_ids": [_UNKNOWN_ID]}, 200, "the orders with these ids"),
        sent("by key", {"client_id": "client-A", "idempotency_key": "none"}, 200, "the order with this key"),
        sent("all", {"client_id": "client-Z"}, 200, "everything of a client that is open or pending"),
        sent("one side", {"client_id": "client-Z", "instrument": "BTC-USD", "side": "buy"}, 200, "all bids"),
        sent("nothing named", {"side": "buy"}, 400, "neither ids nor a client"),
    ],
    "responses": {
        200: answer(
            document(CancelledDocument),
            "what was cancelled, after all partitions have committed",
            {
                "cancelled": [ORDER_EXAMPLE["order_id"]],
                "cancelled_count": 1,
                "not_open": [],
                "not_found": [_UNKNOWN_ID],
            },
        ),
        **errors(*_COMMON_ERRORS),
    },
}
CANCEL_AFTER: dict[str, Any] = {
    "operation_id": "cancel_after",
    "summary": "Set a dead man's switch",
    "tags": [ORDERS_TAG],
    "parameters": RATE_LIMITED,
    "request": {"application/json": CancelAfterSerializer().described()},
    "examples": [
        sent("arm", {"client_id": "client-Z", "timeout_seconds": 60}, 200, "cancel everything in a minute"),
        sent("disarm", {"client_id": "client-Z", "timeout_seconds": 0}, 200, "no switch any more"),
        sent("too long", {"client_id": "client-Z", "timeout_seconds": 1000000}, 400, "more than a day"),
    ],
    "responses": {
        200: answer(
            document(SwitchDocument),
            "the switch; each call replaces the last",
            {"client_id": "client-A", "timeout_seconds": 60, "cancel_at": "2026-01-31T12:01:00.123Z"},
        ),
        **errors(*_COMMON_ERRORS),
    },
}
