"""REST views of market data."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from rest_framework.request import Request

from base.database import read_database
from base.numbers import json_optional_decimal
from base.refusals import InvalidRequest
from base.times import now_text, parse_time
from instruments.directory import DEFAULT_SYMBOL, TradedInstrument, directory
from instruments.grid import Grid
from marketdata import schema
from marketdata.book import BookLevel, read_book
from marketdata.candles import CANDLE_INTERVALS, CandleSpan, list_candles, list_candles_filled
from marketdata.documents import (
    LevelDocument,
    OrderBookDocument,
    StatisticsDocument,
    TickerDocument,
    statistics_fields,
)
from marketdata.selectors import WINDOW_PATTERN, WINDOW_UNITS, list_trades, read_ticker, trade_statistics
from web.content import JSONResponse
from web.pagination import CursorQuery, read_limit
from web.schema import operation
from web.viewset import AsyncViewSet


class OrderBookViewSet(AsyncViewSet):
    """The order book by price level."""

    @operation(**schema.ORDER_BOOK)
    async def list(self, request: Request) -> JSONResponse:
        """Return the best levels of both sides at one sequence."""
        instrument = await _read_instrument(request.query_params)
        levels = read_limit(
            request.query_params,
            name="levels",
            default=settings.BOOK_LEVELS_DEFAULT,
            maximum=settings.BOOK_LEVELS_MAX,
        )
        book = await read_book(instrument, levels)
        document = OrderBookDocument(
            instrument.symbol,
            book.sequence,
            _level_documents(book.bids, instrument.grid),
            _level_documents(book.asks, instrument.grid),
            now_text(),
        )
        return JSONResponse(document)


class TradeViewSet(AsyncViewSet):
    """Public trades."""

    @operation(**schema.LIST_TRADES)
    async def list(self, request: Request) -> JSONResponse:
        """Return trades, newest first."""
        instrument = await _read_instrument(request.query_params)
        limit = read_limit(request.query_params)
        cursors = CursorQuery("trades", instrument=instrument.symbol)
        trades = await read_database(
            list_trades,
            instrument_id=instrument.instrument_id,
            symbol=instrument.symbol,
            before_sequence=cursors.decode(request.query_params.get("cursor"), int),
            limit=limit + 1,
        )
        page = trades[:limit]
        more = len(trades) > limit
        return JSONResponse(
            {"trades": page, "next_cursor": cursors.encode(str(page[-1].sequence)) if more else None}
        )

    @operation(**schema.TRADE_STATISTICS)
    async def stats(self, request: Request) -> JSONResponse:
        """Return statistics of the last minutes, hours or days."""
        instrument = await _read_instrument(request.query_params)
        text = request.query_params.get("window", "24h")
        window = _read_window(text)
        numbers = await read_database(trade_statistics, instrument_id=instrument.instrument_id, window=window)
        document = StatisticsDocument(instrument=instrument.symbol, window=text, **statistics_fields(numbers))
        return JSONResponse(document)


class TickerViewSet(AsyncViewSet):
    """The best prices, the last price, and the statistics of a day."""

    @operation(**schema.TICKER)
    async def list(self, request: Request) -> JSONResponse:
        """Return the best prices, the last price, and the trading of the last 24 hours."""
        instrument = await _read_instrument(request.query_params)
        book = await read_book(instrument, 1)
        day = await read_database(read_ticker, instrument_id=instrument.instrument_id)
        document = TickerDocument(
            instrument=instrument.symbol,
            sequence=book.sequence,
            **_best_price_fields("bid", book.bids, instrument.grid),
            **_best_price_fields("ask", book.asks, instrument.grid),
            **statistics_fields(day.statistics) | {"last": json_optional_decimal(day.last)},
            timestamp=now_text(),
        )
        return JSONResponse(document)


class CandleViewSet(AsyncViewSet):
    """Candles: open, high, low and close prices of intervals."""

    @operation(**schema.LIST_CANDLES)
    async def list(self, request: Request) -> JSONResponse:
        """Return candles, oldest first. With `fill`, also those of intervals without a trade."""
        query = request.query_params
        instrument = await _read_instrument(request.query_params)
        interval = CANDLE_INTERVALS.get(query.get("interval", "1m"))
        if interval is None:
            raise InvalidRequest(fields={"interval": [f"Must be one of: {', '.join(CANDLE_INTERVALS)}."]})
        span = CandleSpan(
            interval=interval,
            start=_read_time(query.get("start"), "start"),
            end=_read_time(query.get("end"), "end"),
            limit=read_limit(query, default=settings.CANDLES_DEFAULT),
        )
        if span.start is not None and span.end is not None and span.start >= span.end:
            raise InvalidRequest(fields={"start": ["Must be before end."]})
        candles = await read_database(
            list_candles_filled if _read_flag(query, "fill") else list_candles,
            instrument_id=instrument.instrument_id,
            span=span,
        )
        return JSONResponse({"candles": candles, "next_cursor": None})


async def _read_instrument(query: Mapping[str, str]) -> TradedInstrument:
    """Return the query's instrument. Raises InstrumentNotFound and Unavailable."""
    return await directory.get(query.get("instrument", DEFAULT_SYMBOL))


def _level_documents(levels: list[BookLevel], grid: Grid) -> list[LevelDocument]:
    documents: list[LevelDocument] = []
    cumulative = 0
    for level in levels:
        cumulative += level.quantity_lots
        documents.append(
            LevelDocument(
                price=grid.price.number(level.price_ticks),
                quantity=grid.quantity.number(level.quantity_lots),
                orders=level.orders,
                cumulative=grid.quantity.number(cumulative),
            )
        )
    return documents


def _best_price_fields(name: str, levels: list[BookLevel], grid: Grid) -> dict[str, Any]:
    if not levels:
        return {name: None, f"{name}_quantity": None}
    return {
        name: grid.price.number(levels[0].price_ticks),
        f"{name}_quantity": grid.quantity.number(levels[0].quantity_lots),
    }


def _read_window(text: str) -> timedelta:
    """Parse a window such as 30m, 24h or 7d. Raises InvalidRequest."""
    match = WINDOW_PATTERN.fullmatch(text)
    hours_max = settings.STATISTICS_WINDOW_HOURS_MAX
    if match is not None:
        window = int(match[1]) * WINDOW_UNITS[match[2]]
        if window <= timedelta(hours=hours_max):
            return window
    raise InvalidRequest(
        fields={"window": [f"A number with m, h or d is required, for example 24h; at most {hours_max}h."]}
    )


def _read_flag(query: Mapping[str, str], name: str) -> bool:
    """Parse a boolean parameter. Raises InvalidRequest."""
    text = query.get(name, "false")
    if text not in ("true", "false"):
        raise InvalidRequest(fields={name: ["Must be true or false."]})
    return text == "true"


def _read_time(text: str | None, name: str) -> datetime | None:
    if text is None:
        return None
    try:
        return parse_time(text.replace(" ", "+"))  # a plus sign that was not escaped in the URL
    except ValueError as error:
        raise InvalidRequest(fields={name: [str(error)]}) from None
