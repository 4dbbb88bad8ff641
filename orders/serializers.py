"""The requests of clients about orders, and the fields that other requests share with them."""

import re
from typing import Any

from base.refusals import InvalidRequest
from instruments.choices import OrderType
from orders.fields import (
    CLIENT_ID_PATTERN,
    CLIENT_ID_RULE,
    IDEMPOTENCY_KEY_CHARACTERS_MAX,
    SYMBOL_CHARACTERS_MAX,
    ClientId,
)
from orders.models import OrderSide
from web.fields import ChoiceText, ExactDecimalField, StrictSerializer, TextField
from web.schema import Schema, field_schema

_AMOUNT = "an exact decimal as a number or a string, above zero, on the instrument's grid"


def client_id_field(schema: Schema, **kwargs: Any) -> TextField:
    return TextField(CLIENT_ID_PATTERN, CLIENT_ID_RULE, {**field_schema(ClientId), **schema}, **kwargs)


def symbol_field() -> TextField:
    return TextField(
        re.compile(rf"[^\x00]{{1,{SYMBOL_CHARACTERS_MAX}}}"),
        "A symbol is required, for example BTC-USD.",
        {"minLength": 1, "maxLength": SYMBOL_CHARACTERS_MAX, "example": "BTC-USD"},
    )


class PlaceOrderSerializer(StrictSerializer):
    """The body of POST /orders."""

    idempotency_key = TextField(
        re.compile(rf"[^\x00-\x1f\x7f\ud800-\udfff]{{1,{IDEMPOTENCY_KEY_CHARACTERS_MAX}}}"),
        f"1 to {IDEMPOTENCY_KEY_CHARACTERS_MAX} characters without control characters are required.",
        {"minLength": 1, "maxLength": IDEMPOTENCY_KEY_CHARACTERS_MAX, "pattern": r"^[^\x00-\x1f\x7f]+$"},
        allow_null=True,
        default=None,
    )
    client_id = client_id_field({})
    instrument = symbol_field()
    side = ChoiceText(OrderSide.values)
    type = ChoiceText(OrderType.values)
    price = ExactDecimalField(
        {"description": f"{_AMOUNT}; only for limit orders", "example": 70150.5},
        allow_null=True,
        default=None,
    )
    quantity = ExactDecimalField({"description": _AMOUNT, "example": 0.1})

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs["type"] == OrderType.LIMIT and attrs["price"] is None:
            raise InvalidRequest(fields={"price": ["A limit order needs a price."]})
        if attrs["type"] == OrderType.MARKET and attrs["price"] is not None:
            raise InvalidRequest(fields={"price": ["A market order takes no price."]})
        return attrs


class CancelOrderSerializer(StrictSerializer):
    """The optional body of POST /orders/{order_id}/cancel."""

    client_id = client_id_field(
        {"description": "if given, the order must belong to this client"}, default=None
    )
