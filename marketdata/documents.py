"""Parts of messages and answers that REST and the stream share."""

from datetime import datetime
from typing import Any

from marketdata.messages import Minute
from marketdata.models import Candle
from marketdata.selectors import Statistics
from rest.numbers import EXACT, average_text, json_decimal, json_number, json_optional_decimal, percent
from rest.times import time_text


def statistics_fields(numbers: Statistics) -> dict[str, Any]:
    """Trading over a window as JSON; prices, and what is made of them, are null where there was no trade."""
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


def candle_fields(candle: Candle | Minute, start: datetime) -> dict[str, Any]:
    """A candle that begins at `start`, as JSON."""
    return {
        "time": time_text(start),
        "open": json_decimal(candle.open),
        "high": json_decimal(candle.high),
        "low": json_decimal(candle.low),
        "close": json_decimal(candle.close),
        "volume": json_decimal(candle.volume),
        "trade_count": int(candle.trade_count),
    }
