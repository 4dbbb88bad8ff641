"""What the OpenAPI schema says about the order views."""

from typing import Any

from drf_spectacular.utils import OpenApiParameter, OpenApiResponse

from orders.models import Instrument, OrderStatus, OrderType, Reason, Side
from orders.serializers import CLIENT_ID_PATTERN, IDEMPOTENCY_KEY_CHARACTERS_MAX
from rest.schema import (
    CURSOR_PARAMETER,
    NUMBER,
    RETRY_AFTER,
    TEXT,
    TIME,
    UUID,
    Schema,
    array,
    choice,
    errors,
    header,
    limit,
    nullable,
    page,
    query,
    record,
    reference,
)

_CLIENT_ID = {"type": "string", "pattern": f"^{CLIENT_ID_PATTERN.pattern}$", "example": "client-A"}
_IDEMPOTENCY_KEY = {
    "type": "string",
    "minLength": 1,
    "maxLength": IDEMPOTENCY_KEY_CHARACTERS_MAX,
    "pattern": r"^[^\x00-\x1f\x7f]+$",
}
_AMOUNTS: list[Schema] = [
    {"type": "number", "minimum": 0, "exclusiveMinimum": True},
    {"type": "string", "pattern": r"^[+]?([0-9]+([.][0-9]*)?|[.][0-9]+)([eE][+-]?[0-9]+)?$"},
]
_AMOUNT_MEANING = "an exact decimal as a number or a string, above zero, on the instrument's grid"

FILL = record(
    {
        "trade_id": UUID,
        "price": NUMBER,
        "quantity": NUMBER,
        "side": {**choice(Side.values), "description": "the taker's"},
        "liquidity": {**choice(["maker", "taker"]), "description": "this order's part"},
        "timestamp": TIME,
    }
)

ORDER = record(
    {
        "order_id": UUID,
        "client_id": _CLIENT_ID,
        "instrument": TEXT,
        "side": choice(Side.values),
        "type": choice(OrderType.values),
        "price": nullable(NUMBER),
        "quantity": NUMBER,
        "filled_quantity": NUMBER,
        "remaining_quantity": NUMBER,
        "average_price": nullable(NUMBER),
        "status": choice(OrderStatus.values),
        "reason": nullable(choice(Reason.values)),
        "idempotency_key": nullable(TEXT),
        "created_at": TIME,
        "updated_at": TIME,
        "trades": array(reference("Fill")),
    }
)

INSTRUMENT = record(
    {
        "symbol": TEXT,
        "tick_size": NUMBER,
        "lot_size": NUMBER,
        "min_quantity": NUMBER,
        "max_quantity": NUMBER,
        "min_price": NUMBER,
        "max_price": NUMBER,
        "min_notional": {
            **nullable(NUMBER),
            "description": "the least price * quantity of a limit order; null: any",
        },
        "open_orders_max": {
            "type": "integer",
            "minimum": 1,
            "description": "orders that one client may have in the book",
        },
        "status": choice(Instrument.Status.values),
    }
)

_PLACE_ORDER_BODY = {
    "type": "object",
    "properties": {
        "idempotency_key": nullable(_IDEMPOTENCY_KEY),
        "client_id": _CLIENT_ID,
        "instrument": {"type": "string", "minLength": 1, "maxLength": 64, "example": "BTC-USD"},
        "side": choice(Side.values),
        "type": choice(OrderType.values),
        "price": {
            "oneOf": [nullable(_AMOUNTS[0]), _AMOUNTS[1]],
            "description": f"{_AMOUNT_MEANING}; a limit order's only",
            "example": 70150.5,
        },
        "quantity": {"oneOf": _AMOUNTS, "description": _AMOUNT_MEANING, "example": 0.1},
    },
    "required": ["client_id", "instrument", "side", "type", "quantity"],
    "additionalProperties": False,
}
_CANCEL_ORDER_BODY = {
    "type": "object",
    "properties": {
        "client_id": {**_CLIENT_ID, "description": "where given, the order must be this client's"}
    },
    "additionalProperties": False,
}

_RATE_LIMITED = [
    header("RateLimit-Limit", {"type": "integer"}, "requests a window", [200, 201, 429]),
    header("RateLimit-Remaining", {"type": "integer"}, "requests left", [200, 201, 429]),
    header(
        "RateLimit-Reset",
        {"type": "integer"},
        "seconds to the end of the window; with 429, until one more fits",
        [200, 201, 429],
    ),
    header("Retry-After", {"type": "integer", "minimum": 1}, "seconds to wait", [429, 503]),
]
_ORDER_ID = OpenApiParameter("order_id", UUID, OpenApiParameter.PATH)

PLACE_ORDER: dict[str, Any] = {
    "operation_id": "place_order",
    "parameters": [
        OpenApiParameter(
            "Idempotency-Key",
            {"type": "string", "minLength": 1, "maxLength": IDEMPOTENCY_KEY_CHARACTERS_MAX},
            OpenApiParameter.HEADER,
            description="the same as idempotency_key in the body",
        ),
        header("Idempotency-Replayed", choice(["true"]), "placed by an earlier request", [200]),
        *_RATE_LIMITED,
    ],
    "request": {"application/json": _PLACE_ORDER_BODY},
    "responses": {
        201: OpenApiResponse(reference("Order"), description="the order as it stands after matching"),
        200: OpenApiResponse(
            reference("Order"), description="placed before with the same key: as it stands now"
        ),
        **errors(400, 409, 415, 422, 429, 504),
    },
}
CANCEL_ORDER: dict[str, Any] = {
    "operation_id": "cancel_order",
    "parameters": [_ORDER_ID, *_RATE_LIMITED],
    "request": {"application/json": _CANCEL_ORDER_BODY},
    "responses": {
        200: OpenApiResponse(reference("Order"), description="the cancelled order"),
        **errors(400, 404, 409, 415, 429, 504),
    },
}
RETRIEVE_ORDER: dict[str, Any] = {
    "operation_id": "get_order",
    "parameters": [_ORDER_ID, RETRY_AFTER],
    "responses": {200: OpenApiResponse(reference("Order"), description="the order"), **errors(404)},
}
LIST_ORDERS: dict[str, Any] = {
    "operation_id": "list_orders",
    "parameters": [
        query("client_id", _CLIENT_ID, "only this client's"),
        query("instrument", TEXT, "only this instrument's"),
        query("status", choice(OrderStatus.values), "only those that stand so"),
        limit(),
        CURSOR_PARAMETER,
        RETRY_AFTER,
    ],
    "responses": {
        200: OpenApiResponse(page("orders", reference("Order")), description="newest first"),
        **errors(400, 404),
    },
}
LIST_INSTRUMENTS: dict[str, Any] = {
    "operation_id": "list_instruments",
    "parameters": [RETRY_AFTER],
    "responses": {
        200: OpenApiResponse(page("instruments", reference("Instrument")), description="by symbol"),
        **errors(),
    },
}
