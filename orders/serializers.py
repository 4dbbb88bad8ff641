"""The requests of clients about orders, and the fields that other requests share with them."""

import re
from typing import Any

from django.conf import settings

from base.documents import UuidText
from base.refusals import InvalidRequest
from instruments.choices import OrderType, SelfTradePrevention, TimeInForce
from orders.fields import (
    CLIENT_ID_PATTERN,
    CLIENT_ID_RULE,
    IDEMPOTENCY_KEY_CHARACTERS_MAX,
    ORDER_ID_PATTERN,
    SYMBOL_CHARACTERS_MAX,
    ClientId,
)
from orders.models import OrderSide
from orders.requests import default_time_in_force, is_limit_type, is_trigger_type
from web.fields import (
    BooleanField,
    ChoiceText,
    ExactDecimalField,
    InputField,
    ListField,
    StrictSerializer,
    TextField,
    TimeField,
    WholeNumberField,
)
from web.schema import Schema, field_schema

_GTD = TimeInForce.GTD.value  # Looking an enum's member up is slow, so it is done once.
_IMMEDIATE = frozenset((TimeInForce.IOC.value, TimeInForce.FOK.value))
_AMOUNT = "an exact decimal as a number or a string, above zero, on the instrument's grid"


def client_id_field(schema: Schema, **kwargs: Any) -> TextField:
    return TextField(CLIENT_ID_PATTERN, CLIENT_ID_RULE, {**field_schema(ClientId), **schema}, **kwargs)


def symbol_field(**kwargs: Any) -> TextField:
    return TextField(
        re.compile(rf"[^\x00]{{1,{SYMBOL_CHARACTERS_MAX}}}"),
        "A symbol is required, for example BTC-USD.",
        {"minLength": 1, "maxLength": SYMBOL_CHARACTERS_MAX, "example": "BTC-USD"},
        **kwargs,
    )


def idempotency_key_field(**kwargs: Any) -> TextField:
    return TextField(
        re.compile(rf"[^\x00-\x1f\x7f\ud800-\udfff]{{1,{IDEMPOTENCY_KEY_CHARACTERS_MAX}}}"),
        f"1 to {IDEMPOTENCY_KEY_CHARACTERS_MAX} characters without control characters are required.",
        {"minLength": 1, "maxLength": IDEMPOTENCY_KEY_CHARACTERS_MAX, "pattern": r"^[^\x00-\x1f\x7f]+$"},
        **kwargs,
    )


def order_id_field(**kwargs: Any) -> TextField:
    return TextField(ORDER_ID_PATTERN, "A UUID is required.", field_schema(UuidText), **kwargs)


def _price_field(described: str, **schema: Any) -> ExactDecimalField:
    return ExactDecimalField(
        {"description": f"{_AMOUNT}; {described}", **schema}, allow_null=True, default=None
    )


class PlaceOrderSerializer(StrictSerializer):
    """The body of POST /orders."""

    idempotency_key = idempotency_key_field(allow_null=True, default=None)
    client_id = client_id_field({})
    instrument = symbol_field()
    side = ChoiceText(OrderSide.values)
    type = ChoiceText(OrderType.values)
    price = _price_field("only for the limit types", example=70150.5)
    quantity = ExactDecimalField({"description": _AMOUNT, "example": 0.1})
    time_in_force = ChoiceText(TimeInForce.values, allow_null=True, default=None)
    expires_at = TimeField(
        {"description": "of a gtd order; in the future", "example": "2026-12-31T12:00:00.000Z"},
        allow_null=True,
        default=None,
    )
    post_only = BooleanField(allow_null=True, default=None)
    self_trade_prevention = ChoiceText(SelfTradePrevention.values, allow_null=True, default=None)
    trigger_price = _price_field("only for stops and take-profits", example=70000)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Check the fields against the type, and fill the defaults in."""
        order_type: str = attrs["type"]
        has_limit = is_limit_type(order_type)
        if attrs["time_in_force"] is None:
            attrs["time_in_force"] = default_time_in_force(order_type)
        attrs["post_only"] = bool(attrs["post_only"])
        errors: dict[str, list[str]] = {}
        if has_limit and attrs["price"] is None:
            errors["price"] = [f"A {_words(order_type)} order needs a price."]
        elif not has_limit and attrs["price"] is not None:
            errors["price"] = [f"A {_words(order_type)} order takes no price."]
        if is_trigger_type(order_type) and attrs["trigger_price"] is None:
            errors["trigger_price"] = [f"A {_words(order_type)} order needs a trigger_price."]
        elif not is_trigger_type(order_type) and attrs["trigger_price"] is not None:
            errors["trigger_price"] = [f"A {_words(order_type)} order takes no trigger_price."]
        errors.update(_instruction_errors(attrs, has_limit))
        if errors:
            raise InvalidRequest(fields=errors)
        return attrs


def _words(order_type: str) -> str:
    return order_type.replace("_", " ")


def _instruction_errors(attrs: dict[str, Any], has_limit: bool) -> dict[str, list[str]]:
    """Return the errors of instructions that do not fit the type or each other."""
    errors: dict[str, list[str]] = {}
    time_in_force = attrs["time_in_force"]
    if not has_limit and time_in_force not in _IMMEDIATE:
        errors["time_in_force"] = [f"A {_words(attrs['type'])} order takes ioc or fok."]
    elif time_in_force == _GTD and attrs["expires_at"] is None:
        errors["expires_at"] = ["A gtd order needs expires_at."]
    if attrs["expires_at"] is not None and time_in_force != _GTD:
        errors["expires_at"] = ["Only an order with time_in_force gtd takes expires_at."]
    if attrs["post_only"] and (not has_limit or time_in_force in _IMMEDIATE):
        errors["post_only"] = ["Only a limit order that may rest, with gtc or gtd, takes post_only."]
    return errors


class CancelOrderSerializer(StrictSerializer):
    """The optional body of POST /orders/{order_id}/cancel."""

    client_id = client_id_field(
        {"description": "if given, the order must belong to this client"}, default=None
    )


class CancelOneSerializer(CancelOrderSerializer):
    """A cancel that names its order."""

    order_id = order_id_field()


class AmendOrderSerializer(StrictSerializer):
    """The body of POST /orders/{order_id}/amend."""

    client_id = client_id_field(
        {"description": "if given, the order must belong to this client"}, default=None
    )
    price = _price_field("the new price", example=70151)
    quantity = ExactDecimalField(
        {"description": f"{_AMOUNT}; the new total, with what is filled already", "example": 0.2},
        allow_null=True,
        default=None,
    )
    expires_at = TimeField({"description": "the new time of a gtd order"}, allow_null=True, default=None)
    trigger_price = _price_field("the new trigger price of a pending order", example=70001)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Check that the amend changes something."""
        if all(attrs[name] is None for name in _AMENDABLE):
            raise InvalidRequest(fields={"body": [f"Give at least one of: {', '.join(_AMENDABLE)}."]})
        return attrs


_AMENDABLE = ("price", "quantity", "expires_at", "trigger_price")


class AmendOneSerializer(AmendOrderSerializer):
    """One amend of several, which names its order."""

    order_id = order_id_field(default=None)
    idempotency_key = idempotency_key_field(default=None)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Check that the amend changes something, and names one order."""
        if (attrs["order_id"] is None) == (attrs["idempotency_key"] is None):
            raise InvalidRequest(fields={"order_id": ["Give either order_id or idempotency_key."]})
        if attrs["idempotency_key"] is not None and attrs["client_id"] is None:
            raise InvalidRequest(fields={"client_id": ["An idempotency_key needs its client_id."]})
        return super().validate(attrs)


class CancelOrdersSerializer(StrictSerializer):
    """The body of POST /orders/cancel: orders by their ids, by a key, or all of a client."""

    order_ids = ListField(
        order_id_field(),
        settings.REQUEST_ORDERS_MAX,
        f"A list of 1 to {settings.REQUEST_ORDERS_MAX} order ids is required.",
        default=None,
    )
    client_id = client_id_field({}, default=None)
    idempotency_key = idempotency_key_field(default=None)
    instrument = symbol_field(default=None)
    side = ChoiceText(OrderSide.values, default=None)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Check that the body has one of the three forms."""
        order_ids, key = attrs["order_ids"], attrs["idempotency_key"]
        selects = attrs["instrument"] is not None or attrs["side"] is not None
        if order_ids is not None:
            if key is not None or selects:
                raise InvalidRequest(fields={"order_ids": ["Only client_id may be given beside order_ids."]})
            if len({order_id.lower() for order_id in order_ids}) < len(order_ids):
                raise InvalidRequest(fields={"order_ids": ["An id is given more than once."]})
        elif attrs["client_id"] is None:
            raise InvalidRequest(fields={"client_id": ["Give order_ids or client_id."]})
        elif key is not None and selects:
            raise InvalidRequest(
                fields={"idempotency_key": ["Only client_id may be given beside idempotency_key."]}
            )
        return attrs


class CancelAfterSerializer(StrictSerializer):
    """The body of POST /orders/cancel-after."""

    client_id = client_id_field({})
    timeout_seconds = WholeNumberField(settings.CANCEL_AFTER_SECONDS_MAX)


class CancelOnDisconnectSerializer(StrictSerializer):
    """The fields of `cancel_on_disconnect` on the stream, besides its type and id."""

    client_id = client_id_field({})
    enabled = BooleanField()


class _ManySerializer(StrictSerializer):
    """A body with one list of objects, each of which is checked on its own."""

    def described_with(self, name: str, item: Schema) -> Schema:
        """Return the JSON schema of the body."""
        described = self.described()
        described["properties"][name] = {**described["properties"][name], "items": item}
        return described


def _objects_field() -> ListField:
    return ListField(
        InputField({"type": "object"}),
        settings.REQUEST_ORDERS_MAX,
        f"A list of 1 to {settings.REQUEST_ORDERS_MAX} objects is required.",
    )


class PlaceOrdersSerializer(_ManySerializer):
    """The body of POST /orders/batch."""

    orders = _objects_field()


class AmendOrdersSerializer(_ManySerializer):
    """The body of POST /orders/amend."""

    amends = _objects_field()
