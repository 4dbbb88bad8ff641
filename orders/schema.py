"""OpenAPI descriptions of the views of orders."""

from typing import Any

from drf_spectacular.utils import OpenApiParameter

from base.documents import UuidText
from instruments.schema import INSTRUMENT_HALTED
from orders.documents import OrderDocument
from orders.fields import IDEMPOTENCY_KEY_CHARACTERS_MAX
from orders.refusals import IdempotencyKeyReused, OrderNotFound, OrderNotOpen
from orders.serializers import AmendOrderSerializer, CancelOrderSerializer, PlaceOrderSerializer
from web.schema import (
    ORDERS_TAG,
    RETRY_AFTER,
    ErrorExample,
    answer,
    choice,
    describe_errors,
    document,
    errors,
    field_schema,
    header,
    sent,
)

describe_errors(
    {
        "order_not_found": ErrorExample(404, OrderNotFound.default_message),
        "order_not_open": ErrorExample(409, OrderNotOpen.default_message),
        "amend_refused": ErrorExample(
            409,
            "The post-only order would trade at the new price.",
            details={"reason": "would_cross"},
        ),
        "idempotency_key_reused": ErrorExample(422, IdempotencyKeyReused.default_message),
    }
)

RATE_LIMITED = [
    header("RateLimit-Limit", {"type": "integer"}, "requests allowed in each window", [200, 201, 429]),
    header("RateLimit-Remaining", {"type": "integer"}, "requests left", [200, 201, 429]),
    header(
        "RateLimit-Reset",
        {"type": "integer"},
        "seconds to the end of the window; with 429, seconds until one more request is allowed",
        [200, 201, 429],
    ),
    header("Retry-After", {"type": "integer", "minimum": 1}, "seconds to wait", [429, 503]),
]
_ORDER_ID = OpenApiParameter(
    "order_id",
    field_schema(UuidText),
    OpenApiParameter.PATH,
    description="order_id in the answer to POST /orders",
    examples=[sent("an unknown order", "01990000-0000-7000-8000-000000000000", 404)],
)

LIMIT_ORDER = {
    "client_id": "client-A",
    "instrument": "BTC-USD",
    "side": "buy",
    "type": "limit",
    "price": 70150.5,
    "quantity": "0.1",
}
_MARKET_ORDER = {
    "client_id": "client-B",
    "instrument": "BTC-USD",
    "side": "sell",
    "type": "market",
    "quantity": 0.05,
}
_STOP_ORDER = {
    "client_id": "client-A",
    "instrument": "BTC-USD",
    "side": "sell",
    "type": "stop_limit",
    "price": 1990,
    "trigger_price": 2000,
    "quantity": 0.1,
    "time_in_force": "gtc",
    "self_trade_prevention": "cancel_taker",
}
_POST_ONLY_ORDER = {**LIMIT_ORDER, "price": 100, "post_only": True}
_FILL_OR_KILL_ORDER = {**LIMIT_ORDER, "price": 101, "time_in_force": "fok"}
_KEYED_ORDER = {**LIMIT_ORDER, "idempotency_key": "2026-01-31-0001"}
_FILL_EXAMPLE = {
    "trade_id": "019c142d-4a01-7b0e-b6c1-0d9f3e5a7b21",
    "price": 70150.5,
    "quantity": 0.05,
    "side": "sell",
    "liquidity": "maker",
    "timestamp": "2026-01-31T12:00:01.500Z",
}
ORDER_EXAMPLE = {
    "order_id": "019c142d-45fb-7c40-8d6f-2f6d1b7a9c10",
    "client_id": "client-A",
    "instrument": "BTC-USD",
    "side": "buy",
    "type": "limit",
    "price": 70150.5,
    "quantity": 0.1,
    "filled_quantity": 0,
    "remaining_quantity": 0.1,
    "average_price": None,
    "status": "open",
    "reason": None,
    "idempotency_key": "2026-01-31-0001",
    "time_in_force": "gtc",
    "expires_at": None,
    "post_only": False,
    "self_trade_prevention": "none",
    "prevented_quantity": 0,
    "trigger_price": None,
    "triggered_at": None,
    "created_at": "2026-01-31T12:00:00.123Z",
    "updated_at": "2026-01-31T12:00:00.123Z",
    "trades": [],
}
TRADED_EXAMPLE = {
    **ORDER_EXAMPLE,
    "filled_quantity": 0.05,
    "remaining_quantity": 0.05,
    "average_price": 70150.5,
    "status": "partially_filled",
    "updated_at": "2026-01-31T12:00:01.500Z",
    "trades": [_FILL_EXAMPLE],
}
_CANCELLED_EXAMPLE = {**TRADED_EXAMPLE, "status": "cancelled", "reason": "client_request"}

KEY_HEADER = OpenApiParameter(
    "Idempotency-Key",
    {"type": "string", "minLength": 1, "maxLength": IDEMPOTENCY_KEY_CHARACTERS_MAX},
    OpenApiParameter.HEADER,
    description="the same as idempotency_key in the body",
)
PLACE_ORDER: dict[str, Any] = {
    "operation_id": "place_order",
    "summary": "Place an order",
    "tags": [ORDERS_TAG],
    "parameters": [
        KEY_HEADER,
        header("Idempotency-Replayed", choice(["true"]), "the order was placed by an earlier request", [200]),
        *RATE_LIMITED,
    ],
    "request": {"application/json": PlaceOrderSerializer().described()},
    "examples": [
        sent("limit", LIMIT_ORDER, 201, "a limit order"),
        sent("market", _MARKET_ORDER, 201, "a market order"),
        sent("stop limit", _STOP_ORDER, 201, "a stop, which waits for a trade at 2000 or below"),
        sent("post only", _POST_ONLY_ORDER, 201, "an order that only rests"),
        sent("fill or kill", _FILL_OR_KILL_ORDER, 201, "an order that trades completely or not at all"),
        sent(
            "good till date without a time",
            {**LIMIT_ORDER, "time_in_force": "gtd"},
            400,
            "a gtd order without expires_at",
        ),
        sent("first with its key", _KEYED_ORDER, 201, "an order with an idempotency key"),
        sent("again with its key", _KEYED_ORDER, 200, "the same order again"),
        sent("key of another order", {**_KEYED_ORDER, "quantity": 2}, 422, "the key of another order"),
        sent("off the tick", {**LIMIT_ORDER, "price": 70150.505}, 400, "a price off the tick"),
        sent("beyond the limits", {**LIMIT_ORDER, "quantity": 1e6}, 400, "a quantity beyond the limits"),
        sent("no price", {**LIMIT_ORDER, "price": None}, 400, "a limit order without a price"),
        sent("unknown field", {**LIMIT_ORDER, "symbol": "BTC-USD"}, 400, "an unknown field"),
        sent("unknown instrument", {**LIMIT_ORDER, "instrument": "NO-USD"}, 400, "an unknown instrument"),
    ],
    "responses": {
        201: answer(document(OrderDocument), "the order after matching", ORDER_EXAMPLE),
        200: answer(
            document(OrderDocument),
            "an order that was placed earlier with the same key, in its current state",
            TRADED_EXAMPLE,
        ),
        **errors(
            *("invalid_request", "not_json", INSTRUMENT_HALTED, "unsupported_media_type"),
            *("forbidden", "idempotency_key_reused", "rate_limited", "outcome_unknown"),
        ),
    },
}
CANCEL_ORDER: dict[str, Any] = {
    "operation_id": "cancel_order",
    "summary": "Cancel an order",
    "tags": [ORDERS_TAG],
    "parameters": [_ORDER_ID, *RATE_LIMITED],
    "request": {"application/json": CancelOrderSerializer().described()},
    "examples": [
        sent("owner", {"client_id": "client-A"}, 200, "only if the order belongs to this client"),
        sent("anybody", {}, 200, "any client's order"),
        sent("bad owner", {"client_id": "client A"}, 400, "not a client id"),
    ],
    "responses": {
        200: answer(document(OrderDocument), "the cancelled order", _CANCELLED_EXAMPLE),
        **errors(
            *("not_json", "forbidden", "order_not_found", "order_not_open", "unsupported_media_type"),
            *("rate_limited", "outcome_unknown"),
        ),
    },
}
AMEND_ORDER: dict[str, Any] = {
    "operation_id": "amend_order",
    "summary": "Amend an order",
    "tags": [ORDERS_TAG],
    "parameters": [_ORDER_ID, *RATE_LIMITED],
    "request": {"application/json": AmendOrderSerializer().described()},
    "examples": [
        sent("quantity", {"quantity": 0.05}, 200, "a smaller quantity, which keeps the order's place"),
        sent("price", {"price": 70150.25, "quantity": 0.1}, 200, "another price: the order enters again"),
        sent("nothing", {}, 400, "no change"),
        sent("no expiry", {"expires_at": "2026-01-31T12:00:00.000Z"}, 400, "a time that has passed"),
        sent("trigger price", {"trigger_price": 70000}, 409, "the trigger price of an order without one"),
    ],
    "responses": {
        200: answer(document(OrderDocument), "the amended order", {**TRADED_EXAMPLE, "quantity": 0.15}),
        **errors(
            *("invalid_request", "not_json", "forbidden", "order_not_found", "order_not_open"),
            *("amend_refused", INSTRUMENT_HALTED, "unsupported_media_type", "rate_limited"),
            "outcome_unknown",
        ),
    },
}
RETRIEVE_ORDER: dict[str, Any] = {
    "operation_id": "get_order",
    "summary": "Read an order",
    "tags": [ORDERS_TAG],
    "parameters": [_ORDER_ID, RETRY_AFTER],
    "responses": {
        200: answer(document(OrderDocument), "the order", TRADED_EXAMPLE),
        **errors("no_parameters", "order_not_found"),
    },
}
