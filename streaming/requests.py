"""The requests that a client may send on /stream."""

import re
from typing import Annotated, Any

import msgspec
from django.conf import settings

from base.refusals import InvalidRequest
from marketdata.candles import CANDLE_INTERVALS
from orders.fields import CLIENT_ID_PATTERN, SYMBOL_CHARACTERS_MAX
from streaming.topics import Channel, Topic
from web.content import decode_json

Symbol = Annotated[str, msgspec.Meta(min_length=1, max_length=SYMBOL_CHARACTERS_MAX)]
CandleInterval = Annotated[str, msgspec.Meta(pattern=rf"\A(?:{'|'.join(CANDLE_INTERVALS)})\Z")]
Throttle = Annotated[int, msgspec.Meta(ge=0, le=settings.STREAM_THROTTLE_MILLISECONDS_MAX)]
ClientId = Annotated[str, msgspec.Meta(pattern=rf"\A(?:{CLIENT_ID_PATTERN.pattern})\Z")]


class _Selection(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, tag_field="type"):
    channels: Annotated[list[Channel], msgspec.Meta(min_length=1, max_length=10)]
    instrument: Symbol | Annotated[list[Symbol], msgspec.Meta(min_length=1, max_length=100)] | None = None
    client_id: ClientId | None = None
    interval: CandleInterval | None = None
    throttle_ms: Throttle | None = None

    @property
    def symbols(self) -> list[str] | None:
        """The symbols, or None for all active instruments.

        In Unsubscribe, None also includes the halted instruments that the client follows.
        """
        return [self.instrument] if isinstance(self.instrument, str) else self.instrument

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
            client_id=self.client_id or "" if channel is Channel.ORDERS else "",
            interval=self.interval or "1m" if channel is Channel.CANDLES else "",
            throttle_milliseconds=0 if channel in (Channel.ORDERS, Channel.TRADES) else throttle,
        )


class Subscribe(_Selection, tag="subscribe"):
    """Follow channels of instruments."""


class Unsubscribe(_Selection, tag="unsubscribe"):
    """Stop following channels of instruments."""


class Ping(msgspec.Struct, forbid_unknown_fields=True, tag_field="type", tag="ping"):
    """Ask for a `pong` with the same id."""

    id: Any = None


Request = Subscribe | Unsubscribe | Ping

_decoder = msgspec.json.Decoder(Request)
_FIELD_OF_ERROR = re.compile(r" - at `\$\.(\w+)")
_UNKNOWN_FIELD = re.compile(r"unknown field `(.{1,64})`")
_MISSING_FIELD = re.compile(r"required field `(\w+)`")

# Error messages for invalid values, by field.
_REQUIRED = {
    "type": "type must be subscribe, unsubscribe or ping.",
    "channels": f"channels must be a list of 1 to 10 of: {', '.join(Channel)}.",
    "instrument": "instrument must be a symbol such as BTC-USD, or a list of 1 to 100 symbols.",
    "client_id": "client_id must have 1 to 64 characters of A-Z a-z 0-9 . _ : -",
    "interval": f"interval must be one of: {', '.join(CANDLE_INTERVALS)}.",
    "throttle_ms": f"throttle_ms must be a whole number from 0 to {settings.STREAM_THROTTLE_MILLISECONDS_MAX}.",
}


class InvalidMessage(ValueError):
    """An invalid message from a client. `code` and the error's text are sent back to the client."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def decode_request(text: str) -> Request:
    """Decode and check a client's request. Raises InvalidMessage."""
    try:
        request: Request = _decoder.decode(text)
    except msgspec.ValidationError as error:
        raise InvalidMessage("invalid_message", _error_message(str(error))) from None
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        raise InvalidMessage("invalid_json", "A JSON object in a text frame is required.") from None
    try:
        decode_json(text.encode())
    except InvalidRequest:
        message = "An object has the same key twice. Send each key once."
        raise InvalidMessage("invalid_json", message) from None
    if (
        isinstance(request, Subscribe | Unsubscribe)
        and "orders" in request.channels
        and not request.client_id
    ):
        raise InvalidMessage("invalid_message", "The channel orders requires a client_id.")
    return request


def _error_message(error: str) -> str:
    """Return an error message for the client, made from the decoder's message."""
    if found := _UNKNOWN_FIELD.search(error):
        return f"The field {found[1]} is unknown here. Leave it out, or correct its name."
    if found := _MISSING_FIELD.search(error) or _FIELD_OF_ERROR.search(error):
        return _REQUIRED.get(found[1], f"The value of {found[1]} is invalid.")
    return "A JSON object with a type is required: subscribe, unsubscribe or ping."
