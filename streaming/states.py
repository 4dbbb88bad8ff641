"""The messages of the channels that show the state of an instrument: depth, quotes and ticker."""

from datetime import UTC, datetime
from typing import Any

from django.conf import settings

from base.encoding import encode_json
from base.numbers import json_optional_decimal
from base.times import now_text, time_text
from marketdata.documents import statistics_fields
from marketdata.messages import Depth, Quote, Ticker
from orders.models import OrderSide
from streaming.book_copy import BookCopy
from streaming.tape import Tape


def depth_text(symbol: str, copy: BookCopy) -> str:
    """Return the message with the best STREAM_DEPTH_LEVELS of each side."""
    bids, asks = (
        copy.documents(copy.levels(side, settings.STREAM_DEPTH_LEVELS))
        for side in (OrderSide.BUY, OrderSide.SELL)
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


def quote_text(symbol: str, copy: BookCopy) -> str:
    """Return the message with the best prices."""
    return encode_json(Quote(instrument=symbol, **_best(copy), timestamp=now_text())).decode()


def _best(copy: BookCopy) -> dict[str, Any]:
    """Return the fields of the best prices."""
    bid, ask = (next(iter(copy.documents(best)), None) for best in copy.best())
    return {
        "sequence": copy.sequence,
        "bid": bid.price if bid else None,
        "bid_quantity": bid.quantity if bid else None,
        "ask": ask.price if ask else None,
        "ask_quantity": ask.quantity if ask else None,
    }


def ticker_text(symbol: str, copy: BookCopy, tape: Tape) -> str:
    """Return the message with the best prices and the trading of the last day."""
    now = datetime.now(UTC)
    ticker = Ticker(
        instrument=symbol,
        **_best(copy),
        **statistics_fields(tape.statistics(now)) | {"last": json_optional_decimal(tape.last)},
        timestamp=time_text(now),
    )
    return encode_json(ticker).decode()
