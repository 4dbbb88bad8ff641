"""The OpenAPI descriptions of the market data views."""

from typing import Any

from django.conf import settings

from instruments.schema import INSTRUMENT_NOT_FOUND, INSTRUMENT_PARAMETER
from marketdata.candles import CANDLE_INTERVALS
from marketdata.documents import (
    CandleDocument,
    OrderBookDocument,
    StatisticsDocument,
    TickerDocument,
    TradeDocument,
)
from marketdata.selectors import WINDOW_PATTERN
from web.listing import listing_parameters
from web.schema import (
    CURSOR_PARAMETER,
    MARKET_TAG,
    RETRY_AFTER,
    answer,
    choice,
    document,
    errors,
    limit,
    page,
    query,
    sent,
)

_LEVELS = {
    "type": "integer",
    "minimum": 1,
    "maximum": settings.BOOK_LEVELS_MAX,
    "default": settings.BOOK_LEVELS_DEFAULT,
}
_WINDOW = {"type": "string", "pattern": f"^{WINDOW_PATTERN.pattern}$", "default": "24h"}
_MOMENT = {"type": "string", "format": "date-time"}

_LEVEL_EXAMPLE = {"price": 70150.5, "quantity": 0.1, "orders": 1, "cumulative": 0.1}
_TRADE_EXAMPLE = {
    "trade_id": "019c142d-4a01-7b0e-b6c1-0d9f3e5a7b21",
    "instrument": "BTC-USD",
    "sequence": 42,
    "price": 70150.5,
    "quantity": 0.05,
    "side": "sell",
    "timestamp": "2026-01-31T12:00:01.500Z",
}
_TRADING_EXAMPLE = {
    "trade_count": 2,
    "volume": 0.15,
    "notional": 10522.6,
    "vwap": 70150.666666666667,
    "open": 70151,
    "high": 70151,
    "low": 70150.5,
    "last": 70150.5,
    "change": -0.5,
    "change_percent": -0.0007,
}
_CANDLE_EXAMPLE = {
    "time": "2026-01-31T12:00:00.000Z",
    "open": 70151,
    "high": 70151,
    "low": 70150.5,
    "close": 70150.5,
    "volume": 0.15,
    "trade_count": 2,
    "closed": True,
}

ORDER_BOOK: dict[str, Any] = {
    "operation_id": "get_order_book",
    "summary": "Read the order book",
    "tags": [MARKET_TAG],
    "parameters": [
        INSTRUMENT_PARAMETER,
        query(
            "levels", _LEVELS, "the number of levels on each side", sent("five", 5, 200), sent("none", 0, 400)
        ),
        RETRY_AFTER,
    ],
    "responses": {
        200: answer(
            document(OrderBookDocument),
            "both sides at one sequence, best price first",
            {
                "instrument": "BTC-USD",
                "sequence": 42,
                "bids": [_LEVEL_EXAMPLE],
                "asks": [],
                "timestamp": "2026-01-31T12:00:02.000Z",
            },
        ),
        **errors("unknown_parameter", INSTRUMENT_NOT_FOUND),
    },
}
LIST_TRADES: dict[str, Any] = {
    "operation_id": "list_trades",
    "summary": "List trades",
    "tags": [MARKET_TAG],
    "parameters": [
        INSTRUMENT_PARAMETER,
        *listing_parameters("timestamp"),
        limit(),
        CURSOR_PARAMETER,
        RETRY_AFTER,
    ],
    "responses": {
        200: answer(
            page("trades", TradeDocument),
            "by sequence; a page is only empty if nothing more follows",
            {"trades": [_TRADE_EXAMPLE], "next_cursor": None},
        ),
        **errors("unknown_parameter", INSTRUMENT_NOT_FOUND),
    },
}
TRADE_STATISTICS: dict[str, Any] = {
    "operation_id": "get_trade_statistics",
    "summary": "Statistics of the trades of a window",
    "tags": [MARKET_TAG],
    "parameters": [
        INSTRUMENT_PARAMETER,
        query(
            "window",
            _WINDOW,
            f"minutes, hours or days up to now; at most {settings.STATISTICS_WINDOW_HOURS_MAX}h",
            sent("an hour", "1h", 200),
            sent("a week", "1w", 400, "minutes, hours or days only"),
        ),
        RETRY_AFTER,
    ],
    "responses": {
        200: answer(
            document(StatisticsDocument),
            "prices are null if there was no trade",
            {"instrument": "BTC-USD", "window": "24h", **_TRADING_EXAMPLE},
        ),
        **errors("unknown_parameter", INSTRUMENT_NOT_FOUND),
    },
}
_TICKER_EXAMPLE = {
    "instrument": "BTC-USD",
    "sequence": 42,
    "bid": 70150.5,
    "bid_quantity": 0.1,
    "ask": None,
    "ask_quantity": None,
    **_TRADING_EXAMPLE,
    "timestamp": "2026-01-31T12:00:02.000Z",
}
TICKER: dict[str, Any] = {
    "operation_id": "get_ticker",
    "summary": "Read the ticker",
    "tags": [MARKET_TAG],
    "parameters": [INSTRUMENT_PARAMETER, RETRY_AFTER],
    "responses": {
        200: answer(
            document(TickerDocument),
            "the market now; bid and ask are null if that side is empty, the last price before the first trade",
            _TICKER_EXAMPLE,
        ),
        **errors("unknown_parameter", INSTRUMENT_NOT_FOUND),
    },
}
LIST_TICKERS: dict[str, Any] = {
    "operation_id": "list_tickers",
    "summary": "Read the tickers of all instruments",
    "tags": [MARKET_TAG],
    "parameters": [RETRY_AFTER],
    "responses": {
        200: answer(
            page("tickers", TickerDocument),
            "the markets now, by symbol; each ticker is that of GET /ticker",
            {"tickers": [_TICKER_EXAMPLE], "next_cursor": None},
        ),
        **errors("no_parameters"),
    },
}
LIST_CANDLES: dict[str, Any] = {
    "operation_id": "list_candles",
    "summary": "List candles",
    "tags": [MARKET_TAG],
    "parameters": [
        INSTRUMENT_PARAMETER,
        query(
            *("interval", {**choice(CANDLE_INTERVALS), "default": "1m"}, "the length of a candle"),
            *(sent("five minutes", "5m", 200), sent("two minutes", "2m", 400)),
        ),
        query(
            *("start", _MOMENT, "candles from this time on; without `end` the first `limit` of them"),
            *(sent("a time", "2026-01-31T12:00:00Z", 200), sent("not a time", "yesterday", 400)),
        ),
        query(
            *("end", _MOMENT, "candles before this time, the last `limit` of them; now by default"),
            *(sent("a time", "2030-01-31T13:00:00Z", 200), sent("not a time", "tomorrow", 400)),
        ),
        query(
            "fill",
            {"type": "boolean", "default": False},
            "also include intervals without a trade, at the previous close",
            sent("yes", True, 200),
        ),
        limit(settings.CANDLES_DEFAULT),
        RETRY_AFTER,
    ],
    "responses": {
        200: answer(
            page("candles", CandleDocument),
            "oldest first; intervals without a trade have no candle, unless `fill` asks for them",
            {"candles": [_CANDLE_EXAMPLE], "next_cursor": None},
        ),
        **errors("unknown_parameter", INSTRUMENT_NOT_FOUND),
    },
}
