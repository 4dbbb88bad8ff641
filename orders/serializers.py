"""Validates the bodies of clients' requests.

One instance of each serializer is used for all requests of a process. `run_validation` keeps no
state in the instance, and creating an instance costs more than running it.
"""

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any, cast

from django.utils.functional import cached_property
from rest_framework import serializers
from rest_framework.fields import empty

from base.numbers import decimal_text, parse_decimal
from orders.fields import (
    CLIENT_ID_PATTERN,
    CLIENT_ID_RULE,
    IDEMPOTENCY_KEY_CHARACTERS_MAX,
    SYMBOL_CHARACTERS_MAX,
    ClientId,
)
from orders.models import OrderSide, OrderType
from web.schema import Schema, choice, field_schema, nullable

_AMOUNT = "an exact decimal as a number or a string, above zero, on the instrument's grid"


class InputField(serializers.Field):  # type: ignore[type-arg]
    """A field of a body, with the exchange's own error messages and its JSON schema."""

    default_error_messages = {"required": "Is required.", "null": "Must not be null."}

    def __init__(self, schema: Schema, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.schema = schema


class TextField(InputField):
    """A JSON string that fully matches a pattern. Numbers are not accepted."""

    def __init__(self, pattern: re.Pattern[str], message: str, schema: Schema, **kwargs: Any) -> None:
        super().__init__({"type": "string", **schema}, **kwargs)
        self.pattern = pattern
        self.message = message

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str) or self.pattern.fullmatch(data) is None:
            raise serializers.ValidationError(self.message)
        return data

    def to_representation(self, value: str) -> str:
        return value


class ChoiceText(InputField):
    """A JSON string that must be one of a few choices."""

    def __init__(self, choices: list[str], **kwargs: Any) -> None:
        super().__init__(choice(choices), **kwargs)
        self.choices = choices

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str) or data not in self.choices:
            raise serializers.ValidationError(f"Must be one of: {', '.join(self.choices)}.")
        return data

    def to_representation(self, value: str) -> str:
        return value


class ExactDecimalField(InputField):
    """A JSON number or string that is read as an exact decimal above zero."""

    def __init__(self, schema: Schema, **kwargs: Any) -> None:
        number: Schema = {"type": "number", "minimum": 0, "exclusiveMinimum": True}
        if kwargs.get("allow_null"):
            number = nullable(number)
        text = {"type": "string", "pattern": r"^[+]?([0-9]+([.][0-9]*)?|[.][0-9]+)([eE][+-]?[0-9]+)?$"}
        super().__init__({"oneOf": [number, text], **schema}, **kwargs)

    def to_internal_value(self, data: Any) -> Decimal:
        try:
            value = parse_decimal(data)
        except ValueError as error:
            raise serializers.ValidationError(str(error)) from None
        if value <= 0:
            raise serializers.ValidationError("Must be above zero.")
        return value

    def to_representation(self, value: Decimal) -> str:
        return decimal_text(value)


def client_id_field(schema: Schema, **kwargs: Any) -> TextField:
    return TextField(CLIENT_ID_PATTERN, CLIENT_ID_RULE, {**field_schema(ClientId), **schema}, **kwargs)


class StrictSerializer(serializers.Serializer):  # type: ignore[type-arg]
    """Refuses unknown fields: a misspelt or unsupported field of an order must not be ignored.

    Valid input is read only by the fields' `to_internal_value`. DRF's own validation takes three
    times as long. It runs only if the input is invalid, because it reports every error and not only
    the first one.
    """

    default_error_messages = {"invalid": "Must be a JSON object.", "null": "Must be a JSON object."}

    def run_validation(self, data: Any = empty) -> Any:
        try:
            return self._read(data)
        except (KeyError, TypeError, serializers.ValidationError):
            return super().run_validation(data)

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict):
            unknown = data.keys() - self.fields.keys()
            if unknown:
                message = f"Unknown field. Known fields: {', '.join(self.fields)}."
                raise serializers.ValidationError(
                    {str(name)[:64] or "body": [message] for name in sorted(unknown)[:10]}
                )
        return super().to_internal_value(data)

    def _read(self, data: dict[str, Any]) -> dict[str, Any]:
        """Read valid input. Raises KeyError, TypeError or ValidationError if it is invalid."""
        if type(data) is not dict:
            raise TypeError("not a JSON object")
        values: dict[str, Any] = {}
        given = 0
        for name, required, default, allow_null, read in self._readers:
            if not required and name not in data:
                values[name] = default
                continue
            value = data[name]
            given += 1
            values[name] = None if value is None and allow_null else read(value)
        if given != len(data):
            raise KeyError("an unknown field")
        return cast("dict[str, Any]", self.validate(values))

    def described(self) -> Schema:
        """Return the JSON schema of the body."""
        fields: dict[str, Any] = dict(self.fields.items())
        required = [name for name, field in fields.items() if field.required]
        return {
            "type": "object",
            "properties": {
                name: nullable(field.schema) if field.allow_null and "type" in field.schema else field.schema
                for name, field in fields.items()
            },
            **({"required": required} if required else {}),
            "additionalProperties": False,
        }

    @cached_property
    def _readers(self) -> list[tuple[str, bool, Any, bool, Callable[[Any], Any]]]:
        """What `_read` needs of each field, without DRF's look-ups."""
        return [
            (name, field.required, field.default, field.allow_null, field.to_internal_value)
            for name, field in self.fields.items()
        ]


class PlaceOrderSerializer(StrictSerializer):
    """The body of POST /orders."""

    idempotency_key = TextField(
        re.compile(rf"[^\x00-\x1f\x7f\ud800-\udfff]{{1,{IDEMPOTENCY_KEY_CHARACTERS_MAX}}}"),
        f"1 to {IDEMPOTENCY_KEY_CHARACTERS_MAX} characters without control characters are required.",
        {"minLength": 1, "maxLength": IDEMPOTENCY_KEY_CHARACTERS_MAX, "pattern": r"^[^\x00-\x1f\x7f]+$"},
        required=False,
        allow_null=True,
        default=None,
    )
    client_id = client_id_field({})
    instrument = TextField(
        re.compile(rf"[^\x00]{{1,{SYMBOL_CHARACTERS_MAX}}}"),
        "A symbol is required, for example BTC-USD.",
        {"minLength": 1, "maxLength": SYMBOL_CHARACTERS_MAX, "example": "BTC-USD"},
    )
    side = ChoiceText(list(OrderSide.values))
    type = ChoiceText(list(OrderType.values))
    price = ExactDecimalField(
        {"description": f"{_AMOUNT}; only for limit orders", "example": 70150.5},
        required=False,
        allow_null=True,
        default=None,
    )
    quantity = ExactDecimalField({"description": _AMOUNT, "example": 0.1})

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs["type"] == OrderType.LIMIT and attrs["price"] is None:
            raise serializers.ValidationError({"price": ["A limit order needs a price."]})
        if attrs["type"] == OrderType.MARKET and attrs["price"] is not None:
            raise serializers.ValidationError({"price": ["A market order takes no price."]})
        return attrs


class CancelOrderSerializer(StrictSerializer):
    """The optional body of POST /orders/{order_id}/cancel."""

    client_id = client_id_field(
        {"description": "if given, the order must belong to this client"}, required=False, default=None
    )
