"""The tickers of all instruments: the same as one by one, with as few reads as for one."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.conf import settings
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django.fixtures import Settings
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from instruments.directory import TradedInstrument, load_instruments
from instruments.models import Instrument
from marketdata.book import Book, BookLevel, mirror_keys, read_books_from_database, read_mirrors
from marketdata.documents import Statistics
from marketdata.models import Candle
from marketdata.selectors import TickerNumbers, last_prices, read_tickers
from tests.matching.partition import Partition, place

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


def add_instruments(count: int, partition: int = 0) -> list[TradedInstrument]:
    """Return new instruments with the grid of BTC-USD."""
    model = Instrument.objects.get(symbol="BTC-USD")
    symbols = [f"N{partition}{number}-USD" for number in range(count)]
    for symbol in symbols:
        model.pk, model.symbol, model.partition = None, symbol, partition
        model.save(force_insert=True)
    found = load_instruments()
    return [found[symbol] for symbol in symbols]


def add_candle(instrument: TradedInstrument, time: datetime, *prices: int, volume: int = 1) -> None:
    low, high = min(prices), max(prices)
    Candle.objects.create(
        instrument_id=instrument.instrument_id,
        time=time.replace(second=0, microsecond=0),
        open=prices[0],
        high=high,
        low=low,
        close=prices[-1],
        volume=volume,
        notional=volume * low,
        trade_count=2,
    )


def test_the_numbers_of_all_instruments_take_two_statements(instruments: dict[str, TradedInstrument]) -> None:
    now = datetime.now(UTC)
    traded, old, untraded, *others = add_instruments(40)
    add_candle(traded, now - 30 * HOUR, 1000, 2000)
    add_candle(traded, now - 23 * HOUR, 10, 30, 20, volume=2)
    add_candle(traded, now - MINUTE, 25, 5, 15, volume=3)
    add_candle(old, now - 26 * HOUR, 7)
    add_candle(old, now - 25 * HOUR, 8, 9)
    for other in others:
        add_candle(other, now - MINUTE, 100)
    numbers: dict[int, TickerNumbers] = {}
    for chosen in ([traded, old, untraded], [traded, old, untraded, *others]):
        ids = [instrument.instrument_id for instrument in chosen]
        with CaptureQueriesContext(connection) as queries:
            numbers = read_tickers(ids)
        assert list(numbers) == ids
        assert len(queries) == 2
    day = Statistics(4, Decimal(5), Decimal(35), Decimal(10), Decimal(30), Decimal(5), Decimal(15))
    assert numbers[traded.instrument_id] == TickerNumbers(day, Decimal(15))
    nothing = Statistics(0, Decimal(0), Decimal(0), None, None, None, None)
    assert numbers[old.instrument_id] == TickerNumbers(nothing, Decimal(9))
    assert numbers[untraded.instrument_id] == TickerNumbers(nothing, None)
    assert last_prices([]) == read_tickers([]) == {}


def test_books_of_all_instruments_take_one_statement_of_the_database(
    instruments: dict[str, TradedInstrument],
) -> None:
    btc, eth, sol = (instruments[symbol] for symbol in ("BTC-USD", "ETH-USD", "SOL-USD"))
    Partition().run(
        *(place("buy", price, 2) for price in (90, 91, 91)),
        *(place("sell", price, 3) for price in (101, 100, 102)),
        place("buy", 50, 4, instrument="ETH-USD"),
        place("sell", 50, 1, instrument="ETH-USD"),
    )
    with CaptureQueriesContext(connection) as queries:
        books = read_books_from_database([sol, btc, eth], 2)
    assert len(queries) == 1
    assert books == {
        "SOL-USD": Book(0, [], []),
        "BTC-USD": Book(
            6, [BookLevel(91, 4, 2), BookLevel(90, 2, 1)], [BookLevel(100, 3, 1), BookLevel(101, 3, 1)]
        ),
        "ETH-USD": Book(2, [BookLevel(50, 3, 1)], []),
    }


def count_packets(redis: Redis) -> int:
    statistics = redis.info("commandstats")
    assert isinstance(statistics, dict)
    return int(statistics.get("cmdstat_exec", {}).get("calls", 0))


@pytest.mark.usefixtures("instruments")
@pytest.mark.parametrize(("at_once", "packets"), [(100, 2), (4, 3), (1, 7)])
def test_mirrors_are_read_in_packets_of_one_partition(
    settings: Settings, redis: Redis, at_once: int, packets: int
) -> None:
    settings.MIRRORS_READ_AT_ONCE = at_once
    chosen = [*add_instruments(5), *add_instruments(2, partition=3)]
    missing, empty, *mirrored = chosen[::-1]
    for number, instrument in enumerate([empty, *mirrored]):
        redis.set(mirror_keys(instrument.partition, instrument.symbol).sequence, number)
    for number, instrument in enumerate(mirrored, 1):
        keys = mirror_keys(instrument.partition, instrument.symbol)
        redis.zadd(keys.bids, {f"{number}:10:1": number, f"{number + 1}:20:2": number + 1})
        redis.zadd(keys.asks, {f"{number + 2}:30:3": number + 2})
    before = count_packets(redis)
    books = asyncio.run(read(chosen))
    assert count_packets(redis) - before == packets
    assert books == {empty.symbol: Book(0, [], [])} | {
        instrument.symbol: Book(number, [BookLevel(number + 1, 20, 2)], [BookLevel(number + 2, 30, 3)])
        for number, instrument in enumerate(mirrored, 1)
    }
    assert missing.symbol not in books


async def read(chosen: Sequence[TradedInstrument]) -> dict[str, Book]:
    async with AsyncRedis.from_url(settings.REDIS_URL) as redis:
        return await read_mirrors(redis, chosen, 1)
