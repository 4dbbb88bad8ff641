"""Orders as clients see them: in REST answers, the worker's replies and `order_update` messages."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Protocol
from uuid import UUID

import msgspec

from base.documents import Count, Number, TimeText, UuidText, described
from base.encoding import encode_json
from base.numbers import EXACT, average_text, json_decimal, json_number, json_optional_decimal
from base.times import time_text
from orders.fields import (
    ClientId,
    OrderTypeName,
    ReasonName,
    SelfTradePreventionName,
    SideName,
    StatusName,
    TakerSide,
    TimeInForceName,
)


class StoredOrder(Protocol):
    """The columns of an order, as attributes of a model instance or of a statement's row."""

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
    def time_in_force(self) -> str: ...
    @property
    def expires_at(self) -> datetime | None: ...
    @property
    def post_only(self) -> bool: ...
    @property
    def self_trade_prevention(self) -> str: ...
    @property
    def prevented_quantity(self) -> Decimal: ...
    @property
    def trigger_price(self) -> Decimal | None: ...
    @property
    def triggered_at(self) -> datetime | None: ...
    @property
    def created_at(self) -> datetime: ...
    @property
    def updated_at(self) -> datetime: ...


Liquidity = Annotated[str, described(enum=["maker", "taker"], description="this order's role in the trade")]


class FillDocument(msgspec.Struct):
    """One order's half of a trade."""

    trade_id: UuidText
    price: Number
    quantity: Number
    side: TakerSide
    liquidity: Liquidity
    timestamp: TimeText


class ListedFillDocument(msgspec.Struct, kw_only=True):
    """One order's half of a trade, with the order that it belongs to."""

    trade_id: UuidText
    order_id: UuidText
    idempotency_key: Annotated[
        str | None, described(description="the order's key, or null if it has none or was deleted")
    ]
    instrument: str
    price: Number
    quantity: Number
    side: SideName
    liquidity: Liquidity
    sequence: Count
    timestamp: TimeText


class OrderState(msgspec.Struct, kw_only=True):
    """The current state of an order, without its trades."""

    order_id: UuidText
    client_id: ClientId
    instrument: str
    side: SideName
    order_type: OrderTypeName = msgspec.field(name="type")
    price: Number | None
    quantity: Number
    filled_quantity: Number
    remaining_quantity: Number
    average_price: Number | None
    status: StatusName
    reason: ReasonName | None
    idempotency_key: str | None
    time_in_force: TimeInForceName
    expires_at: TimeText | None
    post_only: bool
    self_trade_prevention: SelfTradePreventionName
    prevented_quantity: Number
    trigger_price: Number | None
    triggered_at: TimeText | None
    created_at: TimeText
    updated_at: TimeText


class OrderDocument(OrderState, kw_only=True):
    """An order with its last trades, at most ORDER_TRADES_SHOWN_MAX."""

    trades: list[FillDocument]
    trades_complete: Annotated[
        bool, described(description="whether `trades` has all trades of the order; GET /fills has all")
    ] = True


def order_update(state: bytes, sequence: int, fills: Sequence[FillDocument]) -> str:
    """Return the stream's message for the JSON of an `OrderState` or `OrderDocument`.

    `fills` are those since the order's last update. API processes make this message only for
    clients that follow the order. If the worker made it for every order, it would spend a tenth
    more time on each.
    """
    message: dict[str, Any] = {"type": "order_update"}
    for name, value in decode_fields(state).items():
        message["order_type" if name == "type" else name] = value
    message.pop("trades", None)
    message.pop("trades_complete", None)
    message["sequence"] = sequence
    message["fills"] = fills
    return encode_json(message).decode()


decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def average_price(
    filled_notional: Decimal, filled_quantity: Decimal, price: Decimal | None = None
) -> Number | None:
    """Return the average price of an order's fills, or None if there are none.

    `price` is the order's own price. It makes the common case faster: the fills of an order that
    rested usually all have its price.
    """
    if not filled_quantity:
        return None
    if price is not None and EXACT.multiply(price, filled_quantity) == filled_notional:
        return json_decimal(price)
    return json_number(average_text(filled_notional, filled_quantity))


def stored_state(order: StoredOrder, symbol: str) -> dict[str, Any]:
    """Return the fields of an `OrderState` from a row of the database."""
    return {
        "order_id": str(order.order_id),
        "client_id": order.client_id,
        "instrument": symbol,
        "side": order.side,
        "order_type": order.type,
        "price": json_optional_decimal(order.price),
        "quantity": json_decimal(order.quantity),
        "filled_quantity": json_decimal(order.filled_quantity),
        "remaining_quantity": json_decimal(order.quantity - order.filled_quantity - order.prevented_quantity),
        "average_price": average_price(order.filled_notional, order.filled_quantity, order.price),
        "status": order.status,
        "reason": order.reason,
        "idempotency_key": order.idempotency_key,
        "time_in_force": order.time_in_force,
        "expires_at": _optional_time(order.expires_at),
        "post_only": order.post_only,
        "self_trade_prevention": order.self_trade_prevention,
        "prevented_quantity": json_decimal(order.prevented_quantity),
        "trigger_price": json_optional_decimal(order.trigger_price),
        "triggered_at": _optional_time(order.triggered_at),
        "created_at": time_text(order.created_at),
        "updated_at": time_text(order.updated_at),
    }


def _optional_time(moment: datetime | None) -> str | None:
    return None if moment is None else time_text(moment)
