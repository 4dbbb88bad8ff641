"""Tickers: the best prices of books, the last prices, and the trading of the last 24 hours.

The ticker of one instrument and those of all instruments are made in the same way: one round trip to
Redis for each partition, and two statements of the database, however many instruments there are.
"""

from collections.abc import Sequence
from typing import Any

from django.conf import settings

from base.database import read_database
from base.encoding import encode_json
from base.loops import per_event_loop
from base.numbers import json_optional_decimal
from base.shared import FreshResult
from base.times import now_text
from instruments.directory import TradedInstrument, directory
from instruments.grid import Grid
from marketdata.book import Book, BookLevel, read_books
from marketdata.documents import TickerDocument, statistics_fields
from marketdata.selectors import TickerNumbers, read_tickers


async def make_tickers(instruments: Sequence[TradedInstrument]) -> list[TickerDocument]:
    """Return the tickers of these instruments, in the same order. Raises Unavailable."""
    books = await read_books(instruments, 1)
    numbers = await read_database(read_tickers, [instrument.instrument_id for instrument in instruments])
    return [
        _ticker(instrument, books[instrument.symbol], numbers[instrument.instrument_id])
        for instrument in instruments
    ]


@per_event_loop
def current_tickers() -> FreshResult[bytes]:
    """Return the answer of GET /tickers, which requests on this event loop share."""
    return FreshResult(
        _make_answer,
        pause_ratio=settings.SHARED_PAUSE_RATIO,
        pause_seconds_max=settings.SHARED_PAUSE_SECONDS_MAX,
    )


async def _make_answer() -> bytes:
    instruments = sorted((await directory.all()).values(), key=lambda instrument: instrument.symbol)
    return encode_json({"tickers": await make_tickers(instruments), "next_cursor": None})


def _ticker(instrument: TradedInstrument, book: Book, numbers: TickerNumbers) -> TickerDocument:
    return TickerDocument(
        instrument=instrument.symbol,
        sequence=book.sequence,
        **_best_price_fields("bid", book.bids, instrument.grid),
        **_best_price_fields("ask", book.asks, instrument.grid),
        **statistics_fields(numbers.statistics) | {"last": json_optional_decimal(numbers.last)},
        timestamp=now_text(),
    )


def _best_price_fields(name: str, levels: list[BookLevel], grid: Grid) -> dict[str, Any]:
    if not levels:
        return {name: None, f"{name}_quantity": None}
    return {
        name: grid.price.number(levels[0].price_ticks),
        f"{name}_quantity": grid.quantity.number(levels[0].quantity_lots),
    }
