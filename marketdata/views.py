"""REST views of market data."""

from collections.abc import Mapping
from datetime import timedelta

from django.conf import settings
from rest_framework.request import Request

from base.database import read_database
from base.refusals import InvalidRequest
from base.times import now_text
from instruments.directory import DEFAULT_SYMBOL, TradedInstrument, directory
from instruments.grid import Grid
from marketdata import schema
from marketdata.book import BookLevel, read_book
from marketdata.candles import CANDLE_INTERVALS, CandleSpan, list_candles, list_candles_filled
from marketdata.documents import (
    LevelDocument,
    OrderBookDocument,
    StatisticsDocument,
    statistics_fields,
)
from marketdata.selectors import WINDOW_PATTERN, WINDOW_UNITS, trade_statistics
from marketdata.tickers import current_tickers, make_tickers
from marketdata.trade_pages import TradeQuery, list_trades
from web.content import JSONResponse
from web.listing import is_oldest_first, listing_filters, read_time_range
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
        """Return trades, newest first unless `sort` says otherwise."""
        params = request.query_params
        instrument = await _read_instrument(params)
        times, oldest_first = read_time_range(params), is_oldest_first(params)
        limit = read_limit(params)
        filters = listing_filters(times, oldest_first=oldest_first)
        cursors = CursorQuery("trades", instrument=instrument.symbol, **filters)
        wanted = TradeQuery(
            instrument_id=instrument.instrument_id,
            symbol=instrument.symbol,
            times=times,
            oldest_first=oldest_first,
            after=cursors.decode(params.get("cursor"), int),
            limit=limit + 1,
        )
        trades = await read_database(list_trades, wanted)
        page = trades[:limit]
        after = page[-1].sequence if len(trades) > limit else None
        return JSONResponse({"trades": page, "next_cursor": cursors.next(after)})

    @operation(**schema.TRADE_STATISTICS)
    async def stats(self, request: Request) -> JSONResponse:
        """Return statistics of the last minutes, hours or days."""
        instrument = await _read_instrument(request.query_params)
        text = request.query_params.get("window", "24h")
        window = _read_window(text)
        numbers = await read_database(
            trade_statistics, instrument_ids=[instrument.instrument_id], window=window
        )
        document = StatisticsDocument(
            instrument=instrument.symbol,
            window=text,
            **statistics_fields(numbers[instrument.instrument_id]),
        )
        return JSONResponse(document)


class TickerViewSet(AsyncViewSet):
    """The best prices, the last price, and the statistics of a day."""

    @operation(**schema.TICKER)
    async def list(self, request: Request) -> JSONResponse:
        """Return the best prices, the last price, and the trading of the last 24 hours."""
        [ticker] = await make_tickers([await _read_instrument(request.query_params)])
        return JSONResponse(ticker)

    @operation(**schema.LIST_TICKERS)
    async def all(self, request: Request) -> JSONResponse:
        """Return the tickers of all instruments, by symbol."""
        return JSONResponse(await current_tickers().get())


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
        times = read_time_range(query)
        span = CandleSpan(
            interval=interval,
            start=times.start,
            end=times.end,
            limit=read_limit(query, default=settings.CANDLES_DEFAULT),
        )
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
