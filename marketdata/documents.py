"""Documents of market data that REST and the stream share."""

from decimal import Decimal
from typing import Annotated, Any, NamedTuple

import msgspec

from base.documents import Count, Number, TimeText, UuidText, described
from base.numbers import (
    EXACT,
    average_text,
    json_decimal,
    json_number,
    json_optional_decimal,
    percent,
)
from orders.fields import TakerSide


class TradeDocument(msgspec.Struct, kw_only=True):
    """A public trade, without its parties."""

    trade_id: UuidText
    instrument: str
    sequence: Count
    price: Number
    quantity: Number
    side: TakerSide
    timestamp: TimeText


class CandleDocument(msgspec.Struct):
    """A candle. `time` is the start of its interval."""

    time: TimeText
    open: Number
    high: Number
    low: Number
    close: Number
    volume: Number
    trade_count: Count
    closed: Annotated[bool, described(description="whether the interval is over")]


class LevelTotal(msgspec.Struct):
    """The orders at one price."""

    price: Number
    quantity: Number
    orders: Annotated[int, msgspec.Meta(ge=1)]


class LevelDocument(LevelTotal):
    """A level of GET /orderbook, with the quantity up to its price."""

    cumulative: Annotated[
        Number, described(description="the quantity of all levels up to this one", type="number")
    ]


class OrderBookDocument(msgspec.Struct):
    """Both sides of a book at one sequence, best price first."""

    instrument: str
    sequence: Count
    bids: list[LevelDocument]
    asks: list[LevelDocument]
    timestamp: TimeText


class StatisticsDocument(msgspec.Struct, kw_only=True):
    """Trading over a window. Prices are null if there was no trade."""

    instrument: str
    window: str
    trade_count: Count
    volume: Number
    notional: Number
    vwap: Number | None
    open: Number | None
    high: Number | None
    low: Number | None
    last: Number | None
    change: Number | None
    change_percent: Number | None


class TickerDocument(msgspec.Struct, kw_only=True):
    """The best prices, the last price ever, and the trading of the last 24 hours."""

    instrument: str
    sequence: Count
    bid: Number | None
    bid_quantity: Number | None
    ask: Number | None
    ask_quantity: Number | None
    trade_count: Count
    volume: Number
    notional: Number
    vwap: Number | None
    open: Number | None
    high: Number | None
    low: Number | None
    last: Number | None
    change: Number | None
    change_percent: Number | None
    timestamp: TimeText


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
