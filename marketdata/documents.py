"""Documents of market data that REST and the stream share."""

from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from base.numbers import (
    EXACT,
    Number,
    average_text,
    json_decimal,
    json_number,
    json_optional_decimal,
    percent,
)
from base.times import time_text
from marketdata.messages import Minute


class TradeDocument(msgspec.Struct, kw_only=True):
    """A public trade, without its parties. `side` is the taker's."""

    trade_id: str
    instrument: str
    sequence: int
    price: Number
    quantity: Number
    side: str
    timestamp: str


class CandleDocument(msgspec.Struct):
    """A candle. `time` is the start of its interval. It is `closed` once the interval is over."""

    time: str
    open: Number
    high: Number
    low: Number
    close: Number
    volume: Number
    trade_count: int
    closed: bool


class Statistics(NamedTuple):
    """Trading over a window. Prices are None if there was no trade."""

    trade_count: int
    volume: Decimal
    notional: Decimal
    open: Decimal | None
    high: Decimal | None
    low: Decimal | None
    last: Decimal | None


def statistics_fields(numbers: Statistics) -> dict[str, Any]:
    """Return the JSON fields of statistics.

    Prices and values from prices are null without a trade.
    """
    change = change_percent = vwap = None
    if numbers.open is not None and numbers.last is not None:
        change = EXACT.subtract(numbers.last, numbers.open)
        change_percent = percent(change, numbers.open)
        vwap = json_number(average_text(numbers.notional, numbers.volume))
    return {
        "trade_count": numbers.trade_count,
        "volume": json_decimal(numbers.volume),
        "notional": json_decimal(numbers.notional),
        "vwap": vwap,
        "open": json_optional_decimal(numbers.open),
        "high": json_optional_decimal(numbers.high),
        "low": json_optional_decimal(numbers.low),
        "last": json_optional_decimal(numbers.last),
        "change": json_optional_decimal(change),
        "change_percent": json_optional_decimal(change_percent),
    }


def candle_of(minute: Minute, start: datetime, *, closed: bool) -> CandleDocument:
    """Return the candle that starts at `start`. `minute` holds the sum of its minutes."""
    return CandleDocument(
        time_text(start),
        json_decimal(minute.open),
        json_decimal(minute.high),
        json_decimal(minute.low),
        json_decimal(minute.close),
        json_decimal(minute.volume),
        minute.trade_count,
        closed,
    )
