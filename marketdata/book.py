"""Reads order books by price level: from the mirror in Redis, or else from the database.

The worker writes the mirror after each commit and before any reply, so a client that has its reply
finds the effects in the mirror. Sequence and levels are read in one step and always match.

The mirror of an instrument consists of two sorted sets, `bids` and `asks`, and the string
`sequence`. The members of the sets are `ticks:lots:orders`, and their scores are the prices in
ticks.
"""

import functools
import itertools
import logging
from collections.abc import Sequence
from typing import NamedTuple

from django.conf import settings
from django.db import connection
from redis.asyncio import Redis
from redis.exceptions import RedisError

from base.database import read_database
from base.loops import per_event_loop
from base.redis import connect_redis
from instruments.directory import TradedInstrument
from orders.models import RESTING_STATUSES, OrderSide

logger = logging.getLogger(__name__)


class BookLevel(NamedTuple):
    """The total of all orders at one price, in ticks and lots."""

    price_ticks: int
    quantity_lots: int
    orders: int


class Book(NamedTuple):
    """Both sides, best price first, at one sequence."""

    sequence: int
    bids: list[BookLevel]
    asks: list[BookLevel]


class MirrorKeys(NamedTuple):
    """The mirror's keys in Redis, on the node of the instrument's partition."""

    sequence: str
    bids: str
    asks: str


@functools.cache
def mirror_keys(partition: int, symbol: str) -> MirrorKeys:
    prefix = f"exchange:{{{partition}}}:book:{symbol}"
    return MirrorKeys(f"{prefix}:sequence", f"{prefix}:bids", f"{prefix}:asks")


_mirror = per_event_loop(connect_redis)


class _BookSource:
    """Logs when this process changes between the mirror and the database, not at every request."""

    def __init__(self) -> None:
        self._is_mirror = True

    def failed(self, error: Exception) -> None:
        if self._is_mirror:
            logger.warning("books are read from the database: %s", error)
        self._is_mirror = False

    def answered(self) -> None:
        if not self._is_mirror:
            logger.info("books are read from Redis again")
        self._is_mirror = True


_source = _BookSource()


async def read_book(instrument: TradedInstrument, levels: int | None = None) -> Book:
    """Return the best `levels` of each side, or all.

    Raises Unavailable if neither Redis nor the database answers.
    """
    [book] = (await read_books([instrument], levels)).values()
    return book


async def read_books(instruments: Sequence[TradedInstrument], levels: int | None = None) -> dict[str, Book]:
    """Return the books of these instruments by symbol, each at one sequence of its own.

    Books whose mirror is missing are read from the database. Raises Unavailable if neither Redis
    nor the database answers.
    """
    books: dict[str, Book] = {}
    try:
        books = await read_mirrors(_mirror(), instruments, levels)
    except (RedisError, OSError) as error:
        _source.failed(error)
    else:
        _source.answered()
    missing = [instrument for instrument in instruments if instrument.symbol not in books]
    if missing:
        books |= await read_database(read_books_from_database, missing, levels)
    return books


async def read_mirror(redis: Redis, instrument: TradedInstrument, levels: int | None = None) -> Book | None:
    """Return the book from its mirror, or None if there is no mirror. Raises RedisError."""
    return (await read_mirrors(redis, [instrument], levels)).get(instrument.symbol)


async def read_mirrors(
    redis: Redis, instruments: Sequence[TradedInstrument], levels: int | None = None
) -> dict[str, Book]:
    """Return the books that have a mirror, by symbol. Raises RedisError.

    One packet of commands has the books of one partition, and at most MIRRORS_READ_AT_ONCE.
    """
    books: dict[str, Book] = {}
    by_partition = sorted(instruments, key=lambda instrument: instrument.partition)
    for partition, its_instruments in itertools.groupby(by_partition, lambda one: one.partition):
        rest = list(its_instruments)
        while rest:
            chosen, rest = rest[: settings.MIRRORS_READ_AT_ONCE], rest[settings.MIRRORS_READ_AT_ONCE :]
            symbols = [instrument.symbol for instrument in chosen]
            books |= await _read_packet(redis, partition, symbols, levels)
    return books


async def _read_packet(
    redis: Redis, partition: int, symbols: Sequence[str], levels: int | None
) -> dict[str, Book]:
    last = -1 if levels is None else levels - 1
    async with redis.pipeline(transaction=True) as pipeline:
        for symbol in symbols:
            keys = mirror_keys(partition, symbol)
            pipeline.get(keys.sequence)
            pipeline.zrevrange(keys.bids, 0, last)
            pipeline.zrange(keys.asks, 0, last)
        replies = await pipeline.execute()
    found = zip(symbols, replies[::3], replies[1::3], replies[2::3], strict=True)
    return {
        symbol: Book(int(sequence), _decode_levels(bids), _decode_levels(asks))
        for symbol, sequence, bids, asks in found
        if sequence is not None
    }


def _decode_levels(members: list[bytes]) -> list[BookLevel]:
    return [BookLevel(*map(int, member.split(b":"))) for member in members]


# A single statement, so that sequences and levels come from one snapshot of the database.
_LEVELS_SQL = """
SELECT book.instrument_id, book.sequence, resting.side, resting.price,
       sum(resting.quantity - resting.filled_quantity - resting.prevented_quantity), count(resting.order_id)
FROM marketdata_booksequence book
LEFT JOIN orders_order resting ON resting.instrument_id = book.instrument_id AND resting.status = ANY(%s)
WHERE book.instrument_id = ANY(%s)
GROUP BY book.instrument_id, book.sequence, resting.side, resting.price
"""


def read_book_from_database(instrument: TradedInstrument, levels: int | None = None) -> Book:
    """Return the book from the resting orders. Reads all resting orders of the instrument."""
    return read_books_from_database([instrument], levels)[instrument.symbol]


def read_books_from_database(
    instruments: Sequence[TradedInstrument], levels: int | None = None
) -> dict[str, Book]:
    """Return the books of these instruments by symbol. Reads all of their resting orders."""
    statuses = [str(status) for status in RESTING_STATUSES]
    by_id = {instrument.instrument_id: instrument for instrument in instruments}
    sequences = dict.fromkeys(by_id, 0)
    sides: dict[tuple[int, str], list[BookLevel]] = {}
    with connection.cursor() as cursor:
        cursor.execute(_LEVELS_SQL, [statuses, list(by_id)])
        for instrument_id, sequence, side, price, quantity, orders in cursor.fetchall():
            sequences[instrument_id] = sequence
            if side is not None:
                grid = by_id[instrument_id].grid
                level = BookLevel(grid.price.steps(price), grid.quantity.steps(quantity), orders)
                sides.setdefault((instrument_id, side), []).append(level)
    return {
        instrument.symbol: Book(
            sequences[instrument_id],
            sorted(sides.get((instrument_id, OrderSide.BUY), ()), reverse=True)[:levels],
            sorted(sides.get((instrument_id, OrderSide.SELL), ()))[:levels],
        )
        for instrument_id, instrument in by_id.items()
    }
