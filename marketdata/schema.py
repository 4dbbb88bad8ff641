"""What the OpenAPI schema says about the market data views."""

from typing import Any

from django.conf import settings
from drf_spectacular.utils import OpenApiResponse

from marketdata.candles import CANDLE_INTERVALS
from marketdata.selectors import WINDOW_PATTERN
from orders.instruments import DEFAULT_SYMBOL
from orders.models import Side
from rest.schema import (
    COUNT,
    CURSOR_PARAMETER,
    NUMBER,
    RETRY_AFTER,
    TEXT,
    TIME,
    UUID,
    array,
    choice,
    errors,
    instrument,
    limit,
    nullable,
    page,
    query,
    record,
    reference,
)

LEVEL = record(
    {
        "price": NUMBER,
        "quantity": NUMBER,
        "orders": {"type": "integer", "minimum": 1},
        "cumulative": {**NUMBER, "description": "the quantity of all levels up to this one"},
    }
)

_BOOK = record(
    {
        "instrument": TEXT,
        "sequence": COUNT,
        "bids": array(reference("Level")),
        "asks": array(reference("Level")),
        "timestamp": TIME,
    }
)

TRADE = record(
    {
        "trade_id": UUID,
        "instrument": TEXT,
        "sequence": COUNT,
        "price": NUMBER,
        "quantity": NUMBER,
        "side": {**choice(Side.values), "description": "the taker's"},
        "timestamp": TIME,
    }
)

_TRADING = {
    "trade_count": COUNT,
    "volume": NUMBER,
    "notional": NUMBER,
    "vwap": nullable(NUMBER),
    "open": nullable(NUMBER),
    "high": nullable(NUMBER),
    "low": nullable(NUMBER),
    "last": nullable(NUMBER),
    "change": nullable(NUMBER),
    "change_percent": nullable(NUMBER),
}
_STATISTICS = record({"instrument": TEXT, "window": TEXT, **_TRADING})
_TICKER = record(
    {
        "instrument": TEXT,
        "sequence": COUNT,
        "bid": nullable(NUMBER),
        "bid_quantity": nullable(NUMBER),
        "ask": nullable(NUMBER),
        "ask_quantity": nullable(NUMBER),
        **_TRADING,
        "timestamp": TIME,
    }
)

CANDLE = record(
    {
        "time": TIME,
        "open": NUMBER,
        "high": NUMBER,
        "low": NUMBER,
        "close": NUMBER,
        "volume": NUMBER,
        "trade_count": COUNT,
        "closed": {"type": "boolean", "description": "whether the interval is over"},
    }
)

_LEVELS = {
    "type": "integer",
    "minimum": 1,
    "maximum": settings.BOOK_LEVELS_MAX,
    "default": settings.BOOK_LEVELS_DEFAULT,
}
_WINDOW = {"type": "string", "pattern": f"^{WINDOW_PATTERN.pattern}$", "default": "24h"}
_MOMENT = {"type": "string", "format": "date-time"}
_INSTRUMENT = instrument(DEFAULT_SYMBOL)

ORDER_BOOK: dict[str, Any] = {
    "operation_id": "get_order_book",
    "parameters": [_INSTRUMENT, query("levels", _LEVELS, "how many of each side"), RETRY_AFTER],
    "responses": {
        200: OpenApiResponse(_BOOK, description="both sides at one sequence, best price first"),
        **errors(400, 404),
    },
}
LIST_TRADES: dict[str, Any] = {
    "operation_id": "list_trades",
    "parameters": [_INSTRUMENT, limit(), CURSOR_PARAMETER, RETRY_AFTER],
    "responses": {
        200: OpenApiResponse(page("trades", reference("Trade")), description="newest first"),
        **errors(400, 404),
    },
}
TRADE_STATISTICS: dict[str, Any] = {
    "operation_id": "get_trade_statistics",
    "parameters": [
        _INSTRUMENT,
        query(
            "window",
            _WINDOW,
            f"minutes, hours or days up to now; at most {settings.STATISTICS_WINDOW_HOURS_MAX}h",
        ),
        RETRY_AFTER,
    ],
    "responses": {
        200: OpenApiResponse(_STATISTICS, description="prices are null where there was no trade"),
        **errors(400, 404),
    },
}
TICKER: dict[str, Any] = {
    "operation_id": "get_ticker",
    "parameters": [_INSTRUMENT, RETRY_AFTER],
    "responses": {
        200: OpenApiResponse(_TICKER, description="prices are null where there is none"),
        **errors(400, 404),
    },
}
LIST_CANDLES: dict[str, Any] = {
    "operation_id": "list_candles",
    "parameters": [
        _INSTRUMENT,
        query("interval", {**choice(CANDLE_INTERVALS), "default": "1m"}, "the length of a candle"),
        query("start", _MOMENT, "candles from this time on; without `end` the first `limit` of them"),
        query("end", _MOMENT, "candles before this time, the last `limit` of them; now by default"),
        query(
            "fill",
            {"type": "boolean", "default": False},
            "also intervals without a trade, at the close before",
        ),
        limit(settings.CANDLES_DEFAULT),
        RETRY_AFTER,
    ],
    "responses": {
        200: OpenApiResponse(
            page("candles", reference("Candle")),
            description="oldest first; intervals without a trade have no candle, unless `fill` asks for them",
        ),
        **errors(400, 404),
    },
}
