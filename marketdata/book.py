"""Reads the order book by price level: from the mirror in Redis, or else from the database.

The worker writes the mirror after each commit and before any reply, so a client that has its reply
finds the effects in the mirror. Sequence and levels are read in one step and always match.

The mirror of an instrument consists of two sorted sets, `bids` and `asks`, and the string
`sequence`. The members of the sets are `ticks:lots:orders`, and their scores are the prices in
ticks.
"""

import functools
import logging
from typing import NamedTuple

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
    try:
        book = await read_mirror(_mirror(), instrument, levels)
    except (RedisError, OSError) as error:
        _source.failed(error)
        book = None
    else:
        _source.answered()
    if book is None:
        book = await read_database(read_book_from_database, instrument, levels)
    return book


async def read_mirror(redis: Redis, instrument: TradedInstrument, levels: int | None = None) -> Book | None:
    """Return the book from its mirror, or None if there is no mirror. Raises RedisError."""
    keys = mirror_keys(instrument.partition, instrument.symbol)
    last = -1 if levels is None else levels - 1
    async with redis.pipeline(transaction=True) as pipeline:
        pipeline.get(keys.sequence)
        pipeline.zrevrange(keys.bids, 0, last)
        pipeline.zrange(keys.asks, 0, last)
        sequence, bids, asks = await pipeline.execute()
    if sequence is None:
        return None
    return Book(int(sequence), _decode_levels(bids), _decode_levels(asks))


def _decode_levels(members: list[bytes]) -> list[BookLevel]:
    return [BookLevel(*map(int, member.split(b":"))) for member in members]


# A single statement, so that sequence and levels come from one snapshot of the database.
_LEVELS_SQL = """
SELECT book.sequence, resting.side, resting.price,
       sum(resting.quantity - resting.filled_quantity - resting.prevented_quantity), count(resting.order_id)
FROM marketdata_booksequence book
LEFT JOIN orders_order resting ON resting.instrument_id = book.instrument_id AND resting.status = ANY(%s)
WHERE book.instrument_id = %s
GROUP BY book.sequence, resting.side, resting.price
"""


def read_book_from_database(instrument: TradedInstrument, levels: int | None = None) -> Book:
    """Return the book from the resting orders. Reads all resting orders of the instrument."""
    statuses = [str(status) for status in RESTING_STATUSES]
    grid = instrument.grid
    sequence = 0
    bids: list[BookLevel] = []
    asks: list[BookLevel] = []
    with connection.cursor() as cursor:
        cursor.execute(_LEVELS_SQL, [statuses, instrument.instrument_id])
        for sequence, side, price, quantity, orders in cursor.fetchall():  # noqa: B007 - the same in each row
            if side is not None:
                level = BookLevel(grid.price.steps(price), grid.quantity.steps(quantity), orders)
                (bids if side == OrderSide.BUY else asks).append(level)
    bids.sort(reverse=True)
    asks.sort()
    return Book(sequence, bids[:levels], asks[:levels])
