"""The texts of channels that show a state of an instrument: its best levels, and the market at a glance."""

from datetime import UTC, datetime

from django.conf import settings

from marketdata.documents import statistics_fields
from marketdata.messages import Depth, Ticker
from marketdata.stream.book_copy import BookCopy
from marketdata.stream.tape import Tape
from orders.models import Side
from rest.encoding import encode_json
from rest.numbers import json_optional_decimal
from rest.times import now_text, time_text


def depth_text(symbol: str, copy: BookCopy) -> str:
    """The best STREAM_DEPTH_LEVELS of each side."""
    bids, asks = (
        copy.documents(copy.levels(side, settings.STREAM_DEPTH_LEVELS)) for side in (Side.BUY, Side.SELL)
    )
    depth = Depth(
        instrument=symbol,
        sequence=copy.sequence,
        bids=bids,
        asks=asks,
        checksum=copy.checksum(),
        timestamp=now_text(),
    )
    return encode_json(depth).decode()


def ticker_text(symbol: str, copy: BookCopy, tape: Tape) -> str:
    """Best prices, and the trading of the last day."""
    bid, ask = (next(iter(copy.documents(copy.levels(side, 1))), None) for side in (Side.BUY, Side.SELL))
    now = datetime.now(UTC)
    ticker = Ticker(
        instrument=symbol,
        sequence=copy.sequence,
        bid=bid.price if bid else None,
        bid_quantity=bid.quantity if bid else None,
        ask=ask.price if ask else None,
        ask_quantity=ask.quantity if ask else None,
        **statistics_fields(tape.statistics(now)) | {"last": json_optional_decimal(tape.last)},
        timestamp=time_text(now),
    )
    return encode_json(ticker).decode()
