"""Redis without free memory: the worker goes on, cancels free some, and orders are taken again."""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from pytest_django.fixtures import Settings
from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.exceptions import OutOfMemoryError, ResponseError

from base.database import read_database
from base.redis import connect_redis
from base.refusals import Unavailable
from instruments.directory import TradedInstrument
from marketdata.book import mirror_keys, read_book, read_book_from_database, read_mirror
from matching.batch.market_book import MarketBook
from matching.engine import OrderBook, OrderKind, PlaceOrder, Side
from matching.publish.mirror import MirrorWriter
from matching.publish.publisher import HEARTBEAT
from orders.desk import current_desk
from orders.messages import Command, ReplyKind, dead_letters_key, encode, heartbeat_key, stream_key
from orders.models import Order
from tests.matching.live import document, live_worker, run_scenario, submit, with_reply_to
from tests.matching.partition import cancel, place
from tests.patience import PATIENCE_SECONDS

SYMBOL = "BTC-USD"
APPEND = "#!lua flags=allow-oom\nreturn redis.call('XADD', KEYS[1], '*', 'c', ARGV[1])"


@pytest.fixture
def memory(redis: Redis) -> Iterator[Redis]:
    """Yield a Redis whose memory the test may fill, and restore its limit afterwards."""
    before = str(redis.config_get("maxmemory")["maxmemory"])
    yield redis
    redis.config_set("maxmemory", before)


async def fill_memory(redis: AsyncRedis) -> None:
    await redis.config_set("maxmemory", "1")


async def append(redis: AsyncRedis, command: Command | bytes) -> None:
    """Append the command even if memory is full, as the admission does with cancels."""
    payload = command if isinstance(command, bytes) else encode(command)
    await redis.eval(APPEND, 1, stream_key(0), payload)


async def until(condition: Any) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await condition():  # noqa: ASYNC110 - no event tells of it
            await asyncio.sleep(0.02)


async def status_of(order_id: str) -> str:
    return str((await read_database(Order.objects.get, order_id=order_id)).status)


def test_the_worker_goes_on_while_memory_is_full(
    instruments: dict[str, TradedInstrument], memory: Redis
) -> None:
    """It renews its heartbeat, sets garbage aside, cancels an order and updates its mirror."""

    async def scenario() -> None:
        async with connect_redis() as redis, live_worker() as gateway:
            resting = with_reply_to(gateway.process_id, place("buy", 100, 4))
            await submit(resting)
            await fill_memory(redis)
            with pytest.raises(Unavailable):
                await submit(with_reply_to(gateway.process_id, place("buy", 99, 4)))
            await append(redis, b"\xc1 no msgpack")
            await append(redis, with_reply_to(gateway.process_id, cancel(resting)))

            async def is_cancelled() -> bool:
                return await status_of(resting.order_id) == "cancelled"

            async def is_mirrored() -> bool:
                book = await read_mirror(redis, instruments[SYMBOL])
                return book is not None and (book.sequence, book.bids) == (2, [])

            await until(is_cancelled)
            await until(is_mirrored)
            assert await redis.xlen(dead_letters_key(0)) == 1
            await redis.delete(heartbeat_key(0))
            await until(lambda: redis.exists(heartbeat_key(0)))
            await redis.config_set("maxmemory", "0")
            (reply,) = await submit(with_reply_to(gateway.process_id, place("buy", 98, 4)))
            assert document(reply)["status"] == "open"

    run_scenario(scenario())


def test_a_worker_starts_while_memory_is_full(
    instruments: dict[str, TradedInstrument], memory: Redis
) -> None:
    async def scenario() -> None:
        async with connect_redis() as redis:
            async with live_worker() as gateway:
                resting = with_reply_to(gateway.process_id, place("buy", 100, 4))
                await submit(resting)
            await redis.delete(*mirror_keys(0, SYMBOL))
            await fill_memory(redis)
            async with live_worker():
                assert (await read_mirror(redis, instruments[SYMBOL])) is not None
                await append(redis, cancel(resting))

                async def is_cancelled() -> bool:
                    return await status_of(resting.order_id) == "cancelled"

                await until(is_cancelled)

    run_scenario(scenario())


def large_book(instrument: TradedInstrument, levels: int) -> MarketBook:
    market = MarketBook(instrument, OrderBook())
    for number in range(levels):
        side, price = (Side.BUY, 1_000 - number) if number % 2 else (Side.SELL, 1_001 + number)
        market.book.process(PlaceOrder(f"{number}", "c", side, OrderKind.LIMIT, price, 1))
    return market


def test_a_mirror_that_finds_no_room_is_removed_and_rebuilt_later(
    instruments: dict[str, TradedInstrument], memory: Redis, settings: Settings
) -> None:
    """Until then no part of it is in Redis, so that readers use the database."""
    settings.MIRROR_LEVELS_PER_COMMAND = 10
    settings.MIRROR_RETRY_SECONDS = 60.0

    async def scenario() -> None:
        async with connect_redis() as redis:
            writer, market = MirrorWriter(redis), large_book(instruments[SYMBOL], 100)
            writer.epoch = 1
            await writer.rebuild(market)
            assert not await writer.find_lost([market])
            await fill_memory(redis)
            await writer.rebuild(market)
            assert writer.is_given_up(SYMBOL)
            assert await read_mirror(redis, instruments[SYMBOL]) is None
            left = [key async for key in redis.scan_iter("exchange:*book*")]
            assert left == [f"{mirror_keys(0, SYMBOL).sequence}:epoch".encode()]
            await redis.config_set("maxmemory", "0")
            settings.MIRROR_RETRY_SECONDS = 0.0
            await writer.rebuild(market)
            assert not writer.is_given_up(SYMBOL)
            assert not await writer.find_lost([market])

    asyncio.run(scenario())


def test_readers_see_the_old_book_or_the_new_one_while_a_mirror_is_built(
    instruments: dict[str, TradedInstrument], redis: Redis, settings: Settings
) -> None:
    settings.MIRROR_LEVELS_PER_COMMAND = 7
    old, new = large_book(instruments[SYMBOL], 200), large_book(instruments[SYMBOL], 301)

    async def scenario() -> None:
        async with connect_redis() as client, connect_redis() as reader:
            writer = MirrorWriter(client)
            await writer.rebuild(old)
            building = asyncio.create_task(writer.rebuild(new))
            seen = []
            while not building.done():
                book = await read_mirror(reader, instruments[SYMBOL])
                assert book is not None
                seen.append((book.sequence, len(book.bids), len(book.asks)))
            await building
            assert set(seen) <= {(200, 100, 100), (301, 150, 151)}
            assert len(seen) > 5
            book = await read_mirror(reader, instruments[SYMBOL])
            assert book is not None
            assert (book.sequence, len(book.bids), len(book.asks)) == (301, 150, 151)
            keys = [key.decode() async for key in reader.scan_iter("exchange:*book*")]
            assert not [key for key in keys if "staged" in key or "build" in key]
            for key in mirror_keys(0, SYMBOL):
                assert await reader.ttl(key) == -1

    asyncio.run(scenario())


@pytest.mark.parametrize("lost", ["build", "level"])
def test_a_mirror_that_lost_a_part_while_it_was_built_is_never_shown(
    instruments: dict[str, TradedInstrument], redis: Redis, settings: Settings, lost: str
) -> None:
    """A restart of Redis from an older state loses such a part."""
    settings.MIRROR_LEVELS_PER_COMMAND = 10
    keys = mirror_keys(0, SYMBOL)

    async def scenario() -> None:
        async with connect_redis() as client:
            writer = MirrorWriter(client)
            market = large_book(instruments[SYMBOL], 100)
            finish = writer._finish

            async def lose_a_part(**arguments: Any) -> Any:
                if lost == "build":
                    await client.delete(f"{keys.sequence}:build")
                else:
                    await client.zpopmin(f"{keys.bids}:staged")
                return await finish(**arguments)

            writer._finish = lose_a_part  # type: ignore[assignment]
            with pytest.raises(Exception, match="was lost while it was built"):
                await writer.rebuild(market)
            assert await read_mirror(client, instruments[SYMBOL]) is None
            writer._finish = finish
            await writer.rebuild(market)
            assert not await writer.find_lost([market])

    asyncio.run(scenario())


def test_a_mirror_whose_update_fails_half_way_is_not_read_until_it_is_rebuilt(
    instruments: dict[str, TradedInstrument], redis: Redis
) -> None:
    """A key of another type must not keep clients from cancelling."""

    async def scenario() -> None:
        async with connect_redis() as client, live_worker() as gateway:
            resting = with_reply_to(gateway.process_id, place("buy", 100, 4))
            await submit(resting)
            bids = mirror_keys(0, SYMBOL).bids
            await client.delete(bids)
            await client.set(bids, "no sorted set")
            (reply,) = await submit(with_reply_to(gateway.process_id, cancel(resting)))
            assert reply.kind is ReplyKind.CANCELLED

            async def is_mirrored() -> bool:
                with contextlib.suppress(ResponseError):  # until it is rebuilt
                    book = await read_mirror(client, instruments[SYMBOL])
                    return book is not None and book.sequence == 2
                return False

            await until(is_mirrored)
            assert await current_desk().inspect_books(0)
            book = await read_book(instruments[SYMBOL])
            stored = await read_database(read_book_from_database, instruments[SYMBOL])
            assert book == stored

    run_scenario(scenario())


def test_only_the_flag_of_the_script_lets_the_heartbeat_be_written(redis: Redis, memory: Redis) -> None:
    """The control: a plain SET of the same key is refused."""
    memory.config_set("maxmemory", "1")
    with pytest.raises(OutOfMemoryError):
        redis.set(heartbeat_key(0), "worker", px=1_000)
    assert redis.eval(HEARTBEAT, 1, heartbeat_key(0), "worker", 1_000) == b"OK"
