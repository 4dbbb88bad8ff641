"""The fields of clients' requests, over REST and on the stream, and the check of whole requests.

One instance of each serializer is used for all requests of a process. `run_validation` keeps no
state in the instance, and creating an instance costs more than running it.
"""

import re
from collections.abc import Callable, Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.utils.functional import cached_property
from rest_framework import serializers
from rest_framework.fields import empty

from base.numbers import parse_decimal
from base.refusals import FIELD_NAME_CHARACTERS_MAX, FIELDS_NAMED_MAX, InvalidRequest
from base.times import parse_time
from web.schema import Schema, choice, nullable


class InputField(serializers.Field):  # type: ignore[type-arg]
    """A field that takes any JSON value, with its JSON schema.

    In subclasses, `to_internal_value` raises ValueError, with a message for the client, if the value
    is invalid.
    """

    default_error_messages = {"required": "Is required.", "null": "Must not be null."}

    def __init__(self, schema: Schema, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.schema = schema

    def to_internal_value(self, data: Any) -> Any:
        return data


class TextField(InputField):
    """A JSON string that fully matches a pattern. Numbers are not accepted."""

    def __init__(self, pattern: re.Pattern[str], message: str, schema: Schema, **kwargs: Any) -> None:
        super().__init__({"type": "string", **schema}, **kwargs)
        self.pattern = pattern
        self.message = message

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str) or self.pattern.fullmatch(data) is None:
            raise ValueError(self.message)
        return data


class ChoiceText(InputField):
    """A JSON string that must be one of a few choices."""

    def __init__(self, choices: Iterable[str], **kwargs: Any) -> None:
        self.choices = {str(value): value for value in choices}
        super().__init__(choice(self.choices), **kwargs)

    def to_internal_value(self, data: Any) -> str:
        try:
            return self.choices[data]
        except (KeyError, TypeError):
            raise ValueError(f"Must be one of: {', '.join(self.choices)}.") from None


class WholeNumberField(InputField):
    """A JSON integer from 0 to `maximum`."""

    def __init__(self, maximum: int, **kwargs: Any) -> None:
        super().__init__({"type": "integer", "minimum": 0, "maximum": maximum}, **kwargs)
        self.maximum = maximum

    def to_internal_value(self, data: Any) -> int:
        if type(data) is not int or not 0 <= data <= self.maximum:
            raise ValueError(f"Must be a whole number from 0 to {self.maximum}.")
        return data


class BooleanField(InputField):
    """A JSON true or false."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__({"type": "boolean"}, **kwargs)

    def to_internal_value(self, data: Any) -> bool:
        if type(data) is not bool:
            raise ValueError("Must be true or false.")
        return data


class TimeField(InputField):
    """A complete time in RFC 3339, with an offset, in whole milliseconds."""

    def __init__(self, schema: Schema, **kwargs: Any) -> None:
        super().__init__({"type": "string", "format": "date-time", **schema}, **kwargs)

    def to_internal_value(self, data: Any) -> datetime:
        if not isinstance(data, str) or _COMPLETE_TIME.fullmatch(data) is None:
            raise ValueError(
                "A time in RFC 3339 with an offset is required, for example 2026-01-31T12:00:00.000Z."
            )
        moment = parse_time(data)
        if moment.microsecond % 1000:
            raise ValueError("Must have at most three decimals of a second.")
        return moment


_COMPLETE_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,6}0*)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


class ExactDecimalField(InputField):
    """A JSON number or string that is read as an exact decimal above zero."""

    def __init__(self, schema: Schema, **kwargs: Any) -> None:
        number: Schema = {"type": "number", "minimum": 0, "exclusiveMinimum": True}
        if kwargs.get("allow_null"):
            number = nullable(number)
        text = {"type": "string", "pattern": r"^[+]?([0-9]+([.][0-9]*)?|[.][0-9]+)([eE][+-]?[0-9]+)?$"}
        super().__init__({"oneOf": [number, text], **schema}, **kwargs)

    def to_internal_value(self, data: Any) -> Decimal:
        value = parse_decimal(data)
        if value <= 0:
            raise ValueError("Must be above zero.")
        return value


class ListField(InputField):
    """A JSON list of 1 to `items_max` items. `message` is the error for any other value."""

    def __init__(self, item: InputField, items_max: int, message: str, **kwargs: Any) -> None:
        schema = {"type": "array", "items": item.schema, "minItems": 1, "maxItems": items_max}
        super().__init__(schema, error_messages={"required": message, "null": message}, **kwargs)
        self.read_item = item.to_internal_value
        self.items_max = items_max
        self.message = message

    def to_internal_value(self, data: Any) -> list[Any]:
        if not isinstance(data, list) or not 1 <= len(data) <= self.items_max:
            raise ValueError(self.message)
        try:
            return [self.read_item(item) for item in data]
        except ValueError:
            raise ValueError(self.message) from None


class StrictSerializer(serializers.Serializer):  # type: ignore[type-arg]
    """Refuses unknown fields: a misspelt or unsupported field of a request must not be ignored.

    It reads the fields itself, because DRF's own validation takes three times as long.
    """

    def run_validation(self, data: Any = empty) -> dict[str, Any]:
        """Return the values of all fields. Raises InvalidRequest that names every invalid field."""
        if type(data) is not dict:
            raise InvalidRequest(fields={"body": ["Must be a JSON object."]})
        values: dict[str, Any] = {}
        errors: dict[str, list[str]] = {}
        given = 0
        for name, messages, default, allow_null, read in self._readers:
            value = data.get(name, empty)
            if value is empty:
                values[name] = default
                if default is empty:
                    errors[name] = [messages["required"]]
                continue
            given += 1
            try:
                values[name] = None if value is None and allow_null else read(value)
            except ValueError as error:
                errors[name] = [messages["null"] if value is None else str(error)]
        if given != len(data):
            raise self._unknown_fields(data)
        if errors:
            raise InvalidRequest(fields=errors)
        validated: dict[str, Any] = self.validate(values)
        return validated

    def described(self) -> Schema:
        """Return the JSON schema of the request."""
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

    def _unknown_fields(self, data: dict[str, Any]) -> InvalidRequest:
        message = f"Unknown field. Known fields: {', '.join(self.fields)}."
        names = sorted(data.keys() - self.fields.keys())[:FIELDS_NAMED_MAX]
        return InvalidRequest(
            fields={name[:FIELD_NAME_CHARACTERS_MAX] or "body": [message] for name in names}
        )

    @cached_property
    def _readers(self) -> list[tuple[str, dict[str, Any], Any, bool, Callable[[Any], Any]]]:
        """The attributes of each field that `run_validation` needs, read from DRF only once."""
        return [
            (name, field.error_messages, field.default, field.allow_null, field.to_internal_value)
            for name, field in self.fields.items()
        ]
