"""An order as clients see it. REST answers, the worker's replies and `order_update` messages all come from here."""

from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol
from uuid import UUID

import msgspec

from rest.encoding import encode_json
from rest.numbers import EXACT, Number, average_text, json_decimal, json_number, json_optional_decimal
from rest.times import time_text


class StoredOrder(Protocol):
    """An order's columns; every row of the table has them, a model's or a statement's."""

    @property
    def order_id(self) -> UUID | str: ...
    @property
    def client_id(self) -> str: ...
    @property
    def side(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def price(self) -> Decimal | None: ...
    @property
    def quantity(self) -> Decimal: ...
    @property
    def filled_quantity(self) -> Decimal: ...
    @property
    def filled_notional(self) -> Decimal: ...
    @property
    def status(self) -> str: ...
    @property
    def reason(self) -> str | None: ...
    @property
    def idempotency_key(self) -> str | None: ...
    @property
    def created_at(self) -> datetime: ...
    @property
    def updated_at(self) -> datetime: ...


class FillDocument(msgspec.Struct):
    """One order's half of a trade; `side` is the taker's, `liquidity` this order's part."""

    trade_id: str
    price: Number
    quantity: Number
    side: str
    liquidity: str
    timestamp: str


class OrderState(msgspec.Struct, kw_only=True):
    """An order as it stands, without its trades."""

    order_id: str
    client_id: str
    instrument: str
    side: str
    order_type: str = msgspec.field(name="type")
    price: Number | None
    quantity: Number
    filled_quantity: Number
    remaining_quantity: Number
    average_price: Number | None
    status: str
    reason: str | None
    idempotency_key: str | None
    created_at: str
    updated_at: str


class OrderDocument(OrderState, kw_only=True):
    """An order with its trades: the answer of REST."""

    trades: list[FillDocument]


def order_update(state: bytes, sequence: int) -> str:
    """The stream's message of an `OrderState`, or of what has its trades besides, in JSON."""
    message: dict[str, Any] = {"type": "order_update"}
    for name, value in _decode_fields(state).items():
        message["order_type" if name == "type" else name] = value
    message.pop("trades", None)
    message["sequence"] = sequence
    return encode_json(message).decode()


_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def average_price(
    filled_notional: Decimal, filled_quantity: Decimal, price: Decimal | None = None
) -> Number | None:
    """None if nothing is filled. `price` is the order's: that of all fills, as a rule, of an order that rested."""
    if not filled_quantity:
        return None
    if price is not None and EXACT.multiply(price, filled_quantity) == filled_notional:
        return json_decimal(price)
    return json_number(average_text(filled_notional, filled_quantity))


def stored_state(order: StoredOrder, symbol: str) -> dict[str, Any]:
    """The fields of an `OrderState` from the database."""
    return {
        "order_id": str(order.order_id),
        "client_id": order.client_id,
        "instrument": symbol,
        "side": order.side,
        "order_type": order.type,
        "price": json_optional_decimal(order.price),
        "quantity": json_decimal(order.quantity),
        "filled_quantity": json_decimal(order.filled_quantity),
        "remaining_quantity": json_decimal(order.quantity - order.filled_quantity),
        "average_price": average_price(order.filled_notional, order.filled_quantity, order.price),
        "status": order.status,
        "reason": order.reason,
        "idempotency_key": order.idempotency_key,
        "created_at": time_text(order.created_at),
        "updated_at": time_text(order.updated_at),
    }
