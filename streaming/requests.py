"""What a client may say on /stream."""

import re
from typing import Annotated, Any

import msgspec
from django.conf import settings

from base.refusals import InvalidRequest
from marketdata.candles import CANDLE_INTERVALS
from orders.serializers import CLIENT_ID_PATTERN
from streaming.topics import Channel, Topic
from web.content import decode_json

Symbol = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
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
        """None for all active instruments, and in Unsubscribe also for halted ones that are followed."""
        return [self.instrument] if isinstance(self.instrument, str) else self.instrument

    @property
    def topics(self) -> list[Topic]:
        return [self._topic(channel) for channel in dict.fromkeys(self.channels)]

    @property
    def options(self) -> dict[str, Any]:
        """What was given beside channels and instruments."""
        given = {"client_id": self.client_id, "interval": self.interval, "throttle_ms": self.throttle_ms}
        return {name: value for name, value in given.items() if value is not None}

    def _topic(self, channel: Channel) -> Topic:
        step = settings.STREAM_THROTTLE_STEP_MILLISECONDS  # so that there is a bounded number of audiences
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
    """Stop following them."""


class Ping(msgspec.Struct, forbid_unknown_fields=True, tag_field="type", tag="ping"):
    """Answered with the same id."""

    id: Any = None


Request = Subscribe | Unsubscribe | Ping

_decoder = msgspec.json.Decoder(Request)
_FIELD_OF_ERROR = re.compile(r" - at `\$\.(\w+)")
_UNKNOWN_FIELD = re.compile(r"unknown field `(.{1,64})`")
_MISSING_FIELD = re.compile(r"required field `(\w+)`")

# What each field of a message must be, for the client that sent another value.
_REQUIRED = {
    "type": "type must be subscribe, unsubscribe or ping.",
    "channels": f"channels must be a list of 1 to 10 of: {', '.join(Channel)}.",
    "instrument": "instrument must be a symbol such as BTC-USD, or a list of 1 to 100 symbols.",
    "client_id": "client_id must have 1 to 64 characters of A-Z a-z 0-9 . _ : -",
    "interval": f"interval must be one of: {', '.join(CANDLE_INTERVALS)}.",
    "throttle_ms": f"throttle_ms must be a whole number from 0 to {settings.STREAM_THROTTLE_MILLISECONDS_MAX}.",
}


class InvalidMessage(ValueError):
    """A client's message that cannot be served; `code` and message go back to it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def decode_request(text: str) -> Request:
    """The request that a client sent. Raises InvalidMessage."""
    try:
        request: Request = _decoder.decode(text)
    except msgspec.ValidationError as error:
        raise InvalidMessage("invalid_message", _explain(str(error))) from None
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


def _explain(error: str) -> str:
    """What is wrong with a message, in our words, from the decoder's."""
    if found := _UNKNOWN_FIELD.search(error):
        return f"The field {found[1]} is unknown here. Leave it out, or correct its name."
    if found := _MISSING_FIELD.search(error) or _FIELD_OF_ERROR.search(error):
        return _REQUIRED.get(found[1], f"The value of {found[1]} is invalid.")
    return "A JSON object with a type is required: subscribe, unsubscribe or ping."
