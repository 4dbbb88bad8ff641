"""Feeds without a worker: books that tests write into Redis, batches that they make, clients that keep it all."""

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
    """A book with a bid of one lot at each of these prices."""
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
    """A batch that leaves so many bids of one lot at the price."""
    return MarketBatch(
        instrument=symbol,
        previous_sequence=previous_sequence,
        sequence=sequence,
        levels=[("buy", price, orders, orders)],
    )


class Listener:
    """A client's outbox and what was sent from it. It reads while it is `reading` and `may_read` is set."""

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
        """The next message."""
        return json.loads(await asyncio.wait_for(self._received.get(), MESSAGE_SECONDS_MAX))

    async def expect(self, kind: str) -> Any:
        message = await self.next()
        assert message["type"] == kind, message
        return message

    async def receive_until(self, kind: str) -> Any:
        """The next message of this type, whatever comes before it."""
        while (message := await self.next())["type"] != kind:
            pass
        return message

    @property
    def has_heard_all(self) -> bool:
        """Whether nothing waits to be looked at."""
        return self._received.empty()
