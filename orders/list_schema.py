"""OpenAPI descriptions of GET /orders and GET /fills."""

from typing import Any

from base.documents import UuidText
from instruments.schema import INSTRUMENT_NOT_FOUND, SYMBOL_EXAMPLES
from orders.documents import ListedFillDocument, OrderDocument
from orders.fields import ClientId
from orders.list_requests import LISTED_STATUSES
from orders.schema import TRADED_EXAMPLE
from orders.serializers import idempotency_key_field
from web.listing import listing_parameters
from web.schema import (
    CURSOR_PARAMETER,
    ORDERS_TAG,
    RETRY_AFTER,
    TEXT,
    answer,
    choice,
    errors,
    field_schema,
    limit,
    page,
    query,
    sent,
)

_CLIENT_EXAMPLES = sent("client-A", "client-A", 200), sent("bad", "client A", 400)
_FILL_EXAMPLE = {
    "trade_id": "019c142d-4a01-7b0e-b6c1-0d9f3e5a7b21",
    "order_id": "019c142d-45fb-7c40-8d6f-2f6d1b7a9c10",
    "idempotency_key": "2026-01-31-0001",
    "instrument": "BTC-USD",
    "price": 70150.5,
    "quantity": 0.05,
    "side": "buy",
    "liquidity": "maker",
    "sequence": 42,
    "timestamp": "2026-01-31T12:00:01.500Z",
}

LIST_ORDERS: dict[str, Any] = {
    "operation_id": "list_orders",
    "summary": "List orders",
    "tags": [ORDERS_TAG],
    "parameters": [
        query("client_id", field_schema(ClientId), "only orders of this client", *_CLIENT_EXAMPLES),
        query("instrument", TEXT, "only orders in this instrument", *SYMBOL_EXAMPLES),
        query(
            "status",
            {"type": "array", "items": choice(LISTED_STATUSES), "minItems": 1},
            "only orders with one of these statuses: repeat the parameter for several. `resting` means"
            " open and partially_filled, `finished` means filled, cancelled and rejected",
            *(sent("open", "open", 200), sent("several", ["pending", "resting"], 200)),
            *(sent("unknown", "done", 400), sent("one of them unknown", ["open", "done"], 400)),
        ),
        query(
            "idempotency_key",
            idempotency_key_field().schema,
            "only the order that the client sent with this key; with client_id",
            *(sent("a key", "2026-01-31-0001", 200), sent("a line feed", "a\nb", 400)),
        ),
        *listing_parameters("created_at"),
        limit(),
        CURSOR_PARAMETER,
        RETRY_AFTER,
    ],
    "responses": {
        200: answer(
            page("orders", OrderDocument),
            "by created_at; a page is only empty if nothing more follows",
            {"orders": [TRADED_EXAMPLE], "next_cursor": None},
        ),
        **errors("unknown_parameter", INSTRUMENT_NOT_FOUND),
    },
}
LIST_FILLS: dict[str, Any] = {
    "operation_id": "list_fills",
    "summary": "List fills",
    "tags": [ORDERS_TAG],
    "parameters": [
        query(
            *("client_id", field_schema(ClientId), "only fills of this client; required without order_id"),
            *_CLIENT_EXAMPLES,
        ),
        query(
            "order_id",
            field_schema(UuidText),
            "only fills of this order; required without client_id. With client_id, the order must be that client's",
            sent("an unknown order", "01990000-0000-7000-8000-000000000000", 404),
            sent("not an id", "order-1", 400),
        ),
        query("instrument", TEXT, "only fills in this instrument", *SYMBOL_EXAMPLES),
        *listing_parameters("timestamp"),
        limit(),
        CURSOR_PARAMETER,
        RETRY_AFTER,
    ],
    "responses": {
        200: answer(
            page("fills", ListedFillDocument),
            "by timestamp; a page is only empty if nothing more follows",
            {"fills": [_FILL_EXAMPLE], "next_cursor": None},
        ),
        **errors("unknown_parameter", INSTRUMENT_NOT_FOUND, "order_not_found"),
    },
}
