"""The requests that a client may send on /stream."""

import json
from decimal import Decimal
from typing import Any

import msgspec
from django.conf import settings

from base.refusals import InvalidRequest, Refusal, RefusalKind
from marketdata.candles import CANDLE_INTERVALS
from orders.serializers import client_id_field, symbol_field
from streaming.topics import PACELESS, PRIVATE, Channel, Topic
from web.content import decode_json
from web.fields import ChoiceText, InputField, ListField, StrictSerializer, WholeNumberField
from web.schema import nullable

CHANNELS_MAX = 10
SYMBOLS_MAX = 100


class Selection(msgspec.Struct, kw_only=True):
    """Channels of instruments. A field that the client left out is None."""

    channels: list[Channel]
    # The symbols, or None for all active instruments. In Unsubscribe, None also includes the halted
    # instruments that the client follows.
    instrument: list[str] | None
    client_id: str | None
    interval: str | None
    throttle_ms: int | None

    @property
    def topics(self) -> list[Topic]:
        return [self._topic(channel) for channel in dict.fromkeys(self.channels)]

    @property
    def options(self) -> dict[str, Any]:
        """The fields that the request has, other than channels and instruments."""
        given = {"client_id": self.client_id, "interval": self.interval, "throttle_ms": self.throttle_ms}
        return {name: value for name, value in given.items() if value is not None}

    def _topic(self, channel: Channel) -> Topic:
        # Rounding the throttle up to whole steps limits the number of audiences.
        step = settings.STREAM_THROTTLE_STEP_MILLISECONDS
        throttle = -(-(self.throttle_ms or 0) // step) * step
        return Topic(
            channel,
            client_id=self.client_id or "" if channel in PRIVATE else "",
            interval=self.interval or "1m" if channel is Channel.CANDLES else "",
            throttle_milliseconds=0 if channel in PACELESS else throttle,
        )


class Subscribe(Selection):
    """Follow channels of instruments."""


class Unsubscribe(Selection):
    """Stop following channels of instruments."""


class Ping(msgspec.Struct):
    """Ask for a `pong` with the same id."""

    id: Any


class EntryRequest(msgspec.Struct):
    """An order, an amend or a cancel. `fields` is checked by order_entry.py."""

    kind: str
    id: Any
    fields: dict[str, Any]


ENTRY_KINDS = (
    "place_order",
    "place_orders",
    "amend_order",
    "amend_orders",
    "cancel_order",
    "cancel_orders",
    "cancel_after",
    "cancel_on_disconnect",
)


class SymbolsField(ListField):
    """A list of symbols. A single symbol counts as a list of one."""

    def __init__(self, item: InputField, *rest: Any, **kwargs: Any) -> None:
        super().__init__(item, *rest, **kwargs)
        self.schema = {"anyOf": [item.schema, nullable(self.schema)]}

    def to_internal_value(self, data: Any) -> list[Any]:
        return super().to_internal_value([data] if isinstance(data, str) else data)


class SelectionSerializer(StrictSerializer):
    """The fields of `subscribe` and `unsubscribe`, besides their type."""

    channels = ListField(
        ChoiceText(Channel), CHANNELS_MAX, f"Must be a list of 1 to {CHANNELS_MAX} of: {', '.join(Channel)}."
    )
    instrument = SymbolsField(
        symbol_field(),
        SYMBOLS_MAX,
        f"Must be a symbol such as BTC-USD, or a list of 1 to {SYMBOLS_MAX} symbols.",
        allow_null=True,
        default=None,
    )
    client_id = client_id_field({}, allow_null=True, default=None)
    interval = ChoiceText(CANDLE_INTERVALS, allow_null=True, default=None)
    throttle_ms = WholeNumberField(settings.STREAM_THROTTLE_MILLISECONDS_MAX, allow_null=True, default=None)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        private = [channel for channel in attrs["channels"] if channel in PRIVATE]
        if private and attrs["client_id"] is None:
            raise InvalidRequest(fields={"client_id": [f"The channel {private[0]} requires a client_id."]})
        return attrs


class PingSerializer(StrictSerializer):
    """The fields of `ping`, besides its type."""

    id = InputField({}, default=None)


_selection = SelectionSerializer()
REQUESTS: dict[str, tuple[StrictSerializer, type[Subscribe | Unsubscribe | Ping]]] = {
    "subscribe": (_selection, Subscribe),
    "unsubscribe": (_selection, Unsubscribe),
    "ping": (PingSerializer(), Ping),
}


class InvalidMessage(Refusal):
    """A message from a client is not a valid request. `echoed` has the message's id, if it has one."""

    kind = RefusalKind.INVALID
    code = "invalid_message"
    default_message = (
        f"A JSON object is required, with one of these types: {', '.join((*REQUESTS, *ENTRY_KINDS))}."
    )

    def __init__(self, message: str | None = None, *, echoed: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.echoed = echoed or {}


class InvalidJSON(InvalidMessage):
    """A message from a client is not JSON, or has the same key twice in an object."""

    code = "invalid_json"
    default_message = "A JSON object in a text frame is required."


def decode_request(text: str) -> Subscribe | Unsubscribe | Ping | EntryRequest:
    """Decode and check a client's request. Raises InvalidMessage."""
    try:
        message = decode_json(text.encode())
    except InvalidRequest as error:
        raise InvalidJSON(_describe_fields(error), echoed=_id_of_invalid(text)) from None
    except UnicodeEncodeError:
        raise InvalidJSON from None
    if not isinstance(message, dict):
        raise InvalidMessage
    echoed = {"id": message["id"]} if "id" in message else {}
    kind = message.pop("type", None)
    if kind in ENTRY_KINDS:
        if "id" not in message:
            raise InvalidMessage("id: Is required.")
        return EntryRequest(kind, message.pop("id"), message)
    try:
        serializer, request = REQUESTS[kind]
    except (KeyError, TypeError):  # the type is missing or unknown
        raise InvalidMessage(echoed=echoed) from None
    try:
        return request(**serializer.run_validation(message))
    except InvalidRequest as error:
        raise InvalidMessage(_describe_fields(error), echoed=echoed) from None


def _id_of_invalid(text: str) -> dict[str, Any]:
    """Return the id of a message with repeated keys or invalid numbers, if it has exactly one."""
    try:
        pairs = _lenient_decoder.decode(text)
        ids = [value for key, value in pairs if key == "id"] if isinstance(pairs, tuple) else []
        if len(ids) != 1 or not isinstance(ids[0], str | int | Decimal | None):
            return {}
        str(ids[0]).encode()  # Raises for half of a surrogate pair, which no answer can contain.
    except (ValueError, ArithmeticError, RecursionError):
        return {}
    return {"id": ids[0]}


# Objects become tuples of pairs, so that no repeated key is lost.
_lenient_decoder = json.JSONDecoder(object_pairs_hook=tuple, parse_float=Decimal)


def _describe_fields(error: InvalidRequest) -> str:
    """Return the messages of all invalid fields, each after the field's name. May be empty."""
    return " ".join(f"{name}: {' '.join(messages)}" for name, messages in error.fields.items())
