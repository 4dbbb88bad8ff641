"""A feed and its copy of the book, on a real Redis: what it reads, when it reads again, whom it tells."""

import asyncio
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import msgspec
import pytest
from django.conf import settings as django_settings
from pytest_django.fixtures import Settings
from redis import Redis

from base.redis import connect_redis
from marketdata.messages import MarketBatch
from streaming.feed import Feed
from tests.patience import PATIENCE_SECONDS
from tests.streaming.feeds import BOOK, Listener, change, heartbeat, instrument, write_mirror

SYMBOL = "FEED-USD"


@pytest.fixture(autouse=True)
def _forget_books() -> Iterator[None]:
    yield
    with Redis.from_url(django_settings.REDIS_URL) as redis:
        for key in redis.scan_iter("exchange:*"):
            redis.delete(key)


@pytest.fixture(autouse=True)
def _fast(settings: Settings) -> None:
    settings.FEED_RETRY_SECONDS_MIN = settings.FEED_RETRY_SECONDS_MAX = 0.01


@asynccontextmanager
async def hearing(feed: Feed, symbol: str, sequence: int) -> AsyncIterator[None]:
    """A worker that says nothing but that the book is at this sequence; and the clock of the hub."""

    async def beat() -> None:
        while True:
            feed.on_batch(heartbeat(symbol, sequence))
            feed.on_tick()
            await asyncio.sleep(0.005)

    beating = asyncio.create_task(beat())
    try:
        yield
    finally:
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)


async def reads() -> int:
    """How many times Redis was asked for asks."""
    async with connect_redis() as redis:
        statistics = await redis.info("commandstats")
    return int(statistics["cmdstat_zrange"]["calls"])


def test_deltas_continue_the_snapshot_and_a_gap_gives_a_new_one() -> None:
    async def scenario() -> None:
        feed = Feed(instrument(SYMBOL))
        await write_mirror(SYMBOL, 10)
        async with Listener().reading() as client:
            await feed.follow(BOOK, client.outbox)
            assert (await client.expect("orderbook_snapshot"))["sequence"] == 10
            feed.on_batch(change(SYMBOL, 10, 12))
            assert (await client.expect("orderbook_delta"))["sequence"] == 12
            await write_mirror(SYMBOL, 20, [10, 11, 12])
            feed.on_batch(change(SYMBOL, 19, 20))
            snapshot = await client.expect("orderbook_snapshot")
            assert (snapshot["sequence"], len(snapshot["bids"])) == (20, 3)

    asyncio.run(scenario())


def test_a_level_that_was_never_told_is_not_told_to_be_gone() -> None:
    async def scenario() -> None:
        feed = Feed(instrument(SYMBOL))
        await write_mirror(SYMBOL, 10)  # a bid at 10
        async with Listener().reading() as client, Listener().reading() as slow:
            await feed.follow(BOOK, client.outbox)
            await feed.follow(BOOK._replace(throttle_milliseconds=100), slow.outbox)
            for listener in (client, slow):
                await listener.expect("orderbook_snapshot")
            batches = [(11, 1), (12, 1), (12, 0), (10, 0), (13, 0), (11, 2)]  # 13 comes and goes in one batch
            for sequence, (price, orders) in enumerate(batches, 11):
                feed.on_batch(change(SYMBOL, sequence - 1, sequence, price, orders))
            deltas = [await client.expect("orderbook_delta") for _ in batches]
            assert [[(row["price"], row["orders"]) for row in delta["changes"]] for delta in deltas] == [
                *([(11, 1)], [(12, 1)], [(12, 0)], [(10, 0)], [], [(11, 2)]),
            ]
            first, merged = [await slow.expect("orderbook_delta") for _ in range(2)]
            assert [(row["price"], row["orders"]) for row in first["changes"]] == [(11, 1)]
            assert [(row["price"], row["orders"]) for row in merged["changes"]] == [(10, 0), (11, 2)]
            assert (merged["previous_sequence"], merged["sequence"]) == (11, 16)
            assert merged["checksum"] == deltas[-1]["checksum"] == zlib.crc32(b"112")

    asyncio.run(scenario())


def test_a_mirror_that_lags_is_not_taken(settings: Settings) -> None:
    settings.FEED_OLDER_BOOKS_MAX = 1_000_000

    async def scenario() -> None:
        feed = Feed(instrument(SYMBOL))
        await write_mirror(SYMBOL, 10)
        async with Listener().reading() as client:
            await feed.follow(BOOK, client.outbox)
            await client.expect("orderbook_snapshot")
            await write_mirror(SYMBOL, 9)
            read_before = await reads()
            feed.on_batch(change(SYMBOL, 11, 12))
            async with asyncio.timeout(PATIENCE_SECONDS):
                while await reads() < read_before + 5:
                    pass
            assert client.has_heard_all
            await write_mirror(SYMBOL, 12)
            assert (await client.expect("orderbook_snapshot"))["sequence"] == 12

    asyncio.run(scenario())


def test_a_book_that_stays_older_is_taken(settings: Settings) -> None:
    """The database was restored to an earlier state while the API ran."""
    settings.STREAM_STALE_SECONDS = 0.1
    settings.FEED_OLDER_BOOKS_MAX = 3

    async def scenario() -> None:
        feed = Feed(instrument(SYMBOL))
        await write_mirror(SYMBOL, 10)
        async with Listener().reading() as client:
            await feed.follow(BOOK, client.outbox)
            await client.expect("orderbook_snapshot")
            await write_mirror(SYMBOL, 5, [7])
            async with hearing(feed, SYMBOL, 5):
                assert (await client.expect("error"))["code"] == "stale"
                snapshot = await client.expect("orderbook_snapshot")
            assert (snapshot["sequence"], snapshot["bids"][0]["price"]) == (5, 7)
            feed.on_batch(change(SYMBOL, 5, 6))
            assert (await client.expect("orderbook_delta"))["sequence"] == 6

    asyncio.run(scenario())


def test_a_feed_that_hears_is_not_stale(settings: Settings) -> None:
    settings.STREAM_STALE_SECONDS = 0.2

    async def scenario() -> None:
        feed = Feed(instrument(SYMBOL))
        await write_mirror(SYMBOL, 10)
        async with Listener().reading() as client, hearing(feed, SYMBOL, 10):
            await feed.follow(BOOK, client.outbox)
            await client.expect("orderbook_snapshot")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.next(), 4 * settings.STREAM_STALE_SECONDS)

    asyncio.run(scenario())


def test_a_snapshot_waits_for_room_and_deltas_continue_it(settings: Settings) -> None:
    settings.STREAM_QUEUE_BYTES_MAX = 1_000

    async def scenario() -> None:
        feed = Feed(instrument(SYMBOL))
        await write_mirror(SYMBOL, 10, range(1, 1_000))
        client = Listener()
        client.outbox.put('{"type":"other"}')
        client.outbox.put('{"type":"long","text":"%s"}' % ("x" * 1_000))
        await feed.follow(BOOK, client.outbox)
        feed.on_batch(change(SYMBOL, 10, 11))  # part of the snapshot
        async with client.reading():
            await client.expect("other")
            await client.expect("long")
            feed.on_tick()
            snapshot = await client.expect("orderbook_snapshot")
            assert (snapshot["sequence"], len(snapshot["bids"])) == (11, 999)
            feed.on_batch(change(SYMBOL, 11, 12))
            assert (await client.expect("orderbook_delta"))["previous_sequence"] == 11
        assert not client.is_too_slow

    asyncio.run(scenario())


def test_a_client_may_unfollow_a_book_that_it_waits_for(settings: Settings) -> None:
    settings.STREAM_QUEUE_BYTES_MAX = 1_000

    async def scenario() -> None:
        feed = Feed(instrument(SYMBOL))
        await write_mirror(SYMBOL, 10)
        client = Listener()
        client.outbox.put('{"type":"long","text":"%s"}' % ("x" * 1_000))
        client.outbox.put('{"type":"other"}')
        await feed.follow(BOOK, client.outbox)
        feed.unfollow(BOOK, client.outbox)
        async with client.reading():
            await client.expect("long")
            await client.expect("other")
            feed.on_tick()
            feed.on_batch(change(SYMBOL, 10, 11))
            client.outbox.put('{"type":"last"}')
            await client.expect("last")

    asyncio.run(scenario())


def test_many_books_that_are_read_anew_at_once_do_not_flood_their_follower(settings: Settings) -> None:
    settings.STREAM_QUEUE_BYTES_MAX = 100_000
    symbols = [f"{SYMBOL}-{number}" for number in range(20)]

    async def scenario() -> None:
        feeds = [Feed(instrument(symbol)) for symbol in symbols]
        for symbol in symbols:
            await write_mirror(symbol, 10, range(1, 1_000))  # a snapshot of 40 kB
        async with Listener().reading() as client:
            for feed in feeds:
                await feed.follow(BOOK, client.outbox)
                await client.expect("orderbook_snapshot")
            client.may_read.clear()
            for symbol, feed in zip(symbols, feeds, strict=True):
                await write_mirror(symbol, 20, range(1, 1_000))
                feed.on_batch(change(symbol, 19, 20))
                await feed.follow(BOOK, Listener().outbox)  # when it was read
            client.may_read.set()
            heard: set[str] = set()
            while len(heard) < len(symbols):
                for feed in feeds:
                    feed.on_tick()
                snapshot = await client.expect("orderbook_snapshot")
                assert snapshot["sequence"] == 20
                heard.add(snapshot["instrument"])
        assert not client.is_too_slow

    asyncio.run(scenario())


def test_a_copy_that_is_not_the_workers_book_is_read_anew_once() -> None:
    async def scenario() -> None:
        feed = Feed(instrument(SYMBOL))
        await write_mirror(SYMBOL, 10, [9])
        async with Listener().reading() as client:
            await feed.follow(BOOK, client.outbox)
            assert (await client.expect("orderbook_snapshot"))["bids"][0]["price"] == 9
            await write_mirror(SYMBOL, 10, [10])
            truth = MarketBatch(
                instrument=SYMBOL, previous_sequence=10, sequence=10, checksum=zlib.crc32(b"101")
            )
            feed.on_batch(truth)
            snapshot = await client.expect("orderbook_snapshot")
            assert (snapshot["bids"][0]["price"], snapshot["checksum"]) == (10, truth.checksum)
            read_before = await reads()
            for checksum in (truth.checksum, 1, 1):  # a mirror that stays wrong is not read again and again
                feed.on_batch(msgspec.structs.replace(truth, checksum=checksum))
            assert await reads() == read_before

    asyncio.run(scenario())


def test_what_a_throttled_follower_was_not_told_before_a_loss_is_in_its_snapshot() -> None:
    async def scenario() -> None:
        feed = Feed(instrument(SYMBOL))
        await write_mirror(SYMBOL, 10)
        async with Listener().reading() as client:
            await feed.follow(BOOK._replace(throttle_milliseconds=300), client.outbox)
            await client.expect("orderbook_snapshot")
            feed.on_batch(change(SYMBOL, 10, 11, price=11))
            await client.expect("orderbook_delta")
            feed.on_batch(change(SYMBOL, 11, 12, price=12))  # waits for its turn
            await write_mirror(SYMBOL, 20, [10, 11, 12, 13])  # it lags
            for _ in range(2):
                feed.on_batch(heartbeat(SYMBOL, 27))  # the second one comes while the book is read
            async with hearing(feed, SYMBOL, 27):
                await asyncio.sleep(0.5)  # the turn of what waits comes meanwhile
                await write_mirror(SYMBOL, 27, [10, 11, 12, 13])
                while (snapshot := await client.expect("orderbook_snapshot"))["sequence"] < 27:
                    pass
            assert len(snapshot["bids"]) == 4

    asyncio.run(scenario())
