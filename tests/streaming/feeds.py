"""Helpers for tests of feeds: mirrors and batches without a worker, and a client's outbox."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

from base.redis import connect_redis
from instruments.directory import TradedInstrument
from instruments.grid import Grid
from marketdata.book import mirror_keys
from marketdata.messages import MarketBatch
from streaming.outbox import Outbox
from streaming.packet import Packet
from streaming.topics import Channel, Topic
from tests.patience import PATIENCE_SECONDS

MESSAGE_SECONDS_MAX = PATIENCE_SECONDS
BOOK = Topic(Channel.ORDERBOOK_DELTAS)
TRADES = Topic(Channel.TRADES)


def instrument(symbol: str) -> TradedInstrument:
    return TradedInstrument(
        instrument_id=0,
        symbol=symbol,
        grid=Grid.of(Decimal(1), Decimal(1)),
        min_quantity=Decimal(1),
        max_quantity=Decimal(1000),
        min_price=Decimal(1),
        max_price=Decimal(1_000_000),
        halted=False,
        partition=0,
    )


async def write_mirror(symbol: str, sequence: int, bids: Iterable[int] = (10,)) -> None:
    """Write a mirror to Redis that has one bid of one lot at each of these prices."""
    keys = mirror_keys(0, symbol)
    async with connect_redis() as redis, redis.pipeline(transaction=True) as pipeline:
        pipeline.delete(*keys)
        pipeline.zadd(keys.bids, {f"{ticks}:1:1": ticks for ticks in bids})
        pipeline.set(keys.sequence, sequence)
        await pipeline.execute()


def heartbeat(symbol: str, sequence: int) -> MarketBatch:
    return MarketBatch(instrument=symbol, previous_sequence=sequence, sequence=sequence)


def change(
    symbol: str, previous_sequence: int, sequence: int, price: int = 11, orders: int = 1
) -> MarketBatch:
    """Return a batch after which the price has `orders` bids of one lot each."""
    return MarketBatch(
        instrument=symbol,
        previous_sequence=previous_sequence,
        sequence=sequence,
        levels=[("buy", price, orders, orders)],
    )


class Listener:
    """A client's outbox and its messages. It reads inside `reading`, while `may_read` is set."""

    def __init__(self) -> None:
        self.is_too_slow = False
        self.may_read = asyncio.Event()
        self.may_read.set()
        self.outbox = Outbox(self._receive, self._on_overflow)
        self._received: asyncio.Queue[str] = asyncio.Queue()

    async def _receive(self, packet: Packet) -> None:
        for text in packet.texts:
            await self.may_read.wait()
            await self._received.put(text)

    def _on_overflow(self) -> None:
        self.is_too_slow = True

    @asynccontextmanager
    async def reading(self) -> AsyncIterator["Listener"]:
        sending = asyncio.create_task(self.outbox.run())
        try:
            yield self
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def next(self) -> Any:
        """Return the next message. Raises TimeoutError if none comes."""
        return json.loads(await asyncio.wait_for(self._received.get(), MESSAGE_SECONDS_MAX))

    async def expect(self, kind: str) -> Any:
        message = await self.next()
        assert message["type"] == kind, message
        return message

    async def receive_until(self, kind: str) -> Any:
        """Skip messages until one has this type, and return it."""
        async with asyncio.timeout(MESSAGE_SECONDS_MAX):
            while (message := await self.next())["type"] != kind:
                pass
        return message

    @property
    def has_no_message(self) -> bool:
        """Whether every received message has been returned by `next`."""
        return self._received.empty()
