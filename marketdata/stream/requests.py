"""What a client may say on /stream."""

import re
from typing import Annotated, Any

import msgspec
from django.conf import settings

from marketdata.candles import CANDLE_INTERVALS
from marketdata.stream.topics import Channel, Topic
from orders.serializers import CLIENT_ID_PATTERN

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
        """None for all active instruments, and in Unsubscribe for those that are followed, too."""
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
_AT_PATH = re.compile(r" - at `\$\.?(.*)`$")


class InvalidMessage(ValueError):
    """A client's message that cannot be served; `code` and message go back to it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def decode_request(text: str) -> Request:
    """Raises InvalidMessage."""
    try:
        request: Request = _decoder.decode(text)
    except msgspec.ValidationError as error:
        raise InvalidMessage("invalid_message", _AT_PATH.sub(r" (in \1)", str(error))) from None
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        raise InvalidMessage("invalid_json", "A JSON object in a text frame is required.") from None
    if (
        isinstance(request, Subscribe | Unsubscribe)
        and "orders" in request.channels
        and not request.client_id
    ):
        raise InvalidMessage("invalid_message", "The channel orders needs a client_id.")
    return request
