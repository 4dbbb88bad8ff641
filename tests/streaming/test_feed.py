"""Feeds on a real Redis: when they read a mirror, and which messages their followers receive."""

import asyncio
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from types import SimpleNamespace

import msgspec
import pytest
from django.conf import settings as django_settings
from pytest_django.fixtures import Settings
from redis import Redis

from base.redis import connect_redis
from marketdata.messages import MarketBatch
from streaming import feed as feed_module
from streaming.feed import Feed
from tests.patience import PATIENCE_SECONDS
from tests.streaming.feeds import BOOK, Listener, change, heartbeat, instrument, write_mirror

SYMBOL = "FEED-USD"
STALE_SECONDS = django_settings.STREAM_STALE_SECONDS
THROTTLE_MILLISECONDS = 1_500  # longer than this process may stand still between two batches


@pytest.fixture(autouse=True)
def _delete_books_from_redis() -> Iterator[None]:
    yield
    with Redis.from_url(django_settings.REDIS_URL) as redis:
        for key in redis.scan_iter("exchange:*"):
            redis.delete(key)


@pytest.fixture(autouse=True)
def _retry_at_short_intervals(settings: Settings) -> None:
    settings.FEED_RETRY_SECONDS_MIN = settings.FEED_RETRY_SECONDS_MAX = 0.01


class Clock:
    """The clock by which a feed becomes stale. Only the test moves it."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(feed_module, "time", SimpleNamespace(monotonic=clock))
    return clock


@asynccontextmanager
async def worker_heartbeats(feed: Feed, symbol: str, sequence: int) -> AsyncIterator[None]:
    """Send the feed book heartbeats at this sequence, and ticks, as worker and hub do."""

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


async def count_mirror_reads() -> int:
    """Return how many times a mirror's levels were read from Redis."""
    async with connect_redis() as redis:
        statistics = await redis.info("commandstats")
    return int(statistics["cmdstat_zrange"]["calls"])


def test_deltas_continue_a_snapshot_and_a_gap_leads_to_a_new_one() -> None:
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


def test_a_level_that_was_never_sent_is_not_sent_as_removed() -> None:
    async def scenario() -> None:
        feed = Feed(instrument(SYMBOL))
        await write_mirror(SYMBOL, 10)  # a bid at 10
        async with Listener().reading() as client, Listener().reading() as slow:
            await feed.follow(BOOK, client.outbox)
            await feed.follow(BOOK._replace(throttle_milliseconds=THROTTLE_MILLISECONDS), slow.outbox)
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


def test_a_feed_does_not_take_a_mirror_that_lags(settings: Settings) -> None:
    settings.FEED_OLDER_BOOKS_MAX = 1_000_000

    async def scenario() -> None:
        feed = Feed(instrument(SYMBOL))
        await write_mirror(SYMBOL, 10)
        async with Listener().reading() as client:
            await feed.follow(BOOK, client.outbox)
            await client.expect("orderbook_snapshot")
            await write_mirror(SYMBOL, 9)
            read_before = await count_mirror_reads()
            feed.on_batch(change(SYMBOL, 11, 12))
            async with asyncio.timeout(PATIENCE_SECONDS):
                while await count_mirror_reads() < read_before + 5:
                    pass
            assert client.has_no_message
            await write_mirror(SYMBOL, 12)
            assert (await client.expect("orderbook_snapshot"))["sequence"] == 12

    asyncio.run(scenario())


def test_a_feed_takes_a_book_that_stays_older(settings: Settings, clock: Clock) -> None:
    """This happens if the database is restored to an earlier state while the API runs."""
    settings.FEED_OLDER_BOOKS_MAX = 3

    async def scenario() -> None:
        feed = Feed(instrument(SYMBOL))
        await write_mirror(SYMBOL, 10)
        async with Listener().reading() as client:
            await feed.follow(BOOK, client.outbox)
            await client.expect("orderbook_snapshot")
            await write_mirror(SYMBOL, 5, [7])
            async with worker_heartbeats(feed, SYMBOL, 5):
                clock.now += STALE_SECONDS + 0.1
                assert (await client.expect("error"))["code"] == "stale"
                snapshot = await client.expect("orderbook_snapshot")
            assert (snapshot["sequence"], snapshot["bids"][0]["price"]) == (5, 7)
            feed.on_batch(change(SYMBOL, 5, 6))
            assert (await client.expect("orderbook_delta"))["sequence"] == 6

    asyncio.run(scenario())


def test_a_feed_is_not_stale_until_its_heartbeats_end(clock: Clock) -> None:
    async def scenario() -> None:
        feed = Feed(instrument(SYMBOL))
        await write_mirror(SYMBOL, 10)
        async with Listener().reading() as client:
            await feed.follow(BOOK, client.outbox)
            await client.expect("orderbook_snapshot")
            for _ in range(4):
                feed.on_batch(heartbeat(SYMBOL, 10))
                clock.now += STALE_SECONDS - 0.1
                feed.on_tick()
            client.outbox.put('{"type":"heartbeats end"}')
            await client.expect("heartbeats end")
            clock.now += 0.2
            feed.on_tick()
            assert (await client.expect("error"))["code"] == "stale"

    asyncio.run(scenario())


def test_a_snapshot_waits_for_room_in_the_outbox_and_deltas_continue_it(settings: Settings) -> None:
    settings.STREAM_QUEUE_BYTES_MAX = 1_000

    async def scenario() -> None:
        feed = Feed(instrument(SYMBOL))
        await write_mirror(SYMBOL, 10, range(1, 1_000))
        client = Listener()
        client.outbox.put('{"type":"other"}')
        client.outbox.put('{"type":"long","text":"%s"}' % ("x" * 1_000))
        await feed.follow(BOOK, client.outbox)
        feed.on_batch(change(SYMBOL, 10, 11))  # becomes part of the snapshot
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


def test_a_client_may_unfollow_a_book_before_its_snapshot(settings: Settings) -> None:
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


def test_many_books_read_again_at_once_do_not_flood_their_follower(settings: Settings) -> None:
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
                await feed.follow(BOOK, Listener().outbox)  # returns when the mirror has been read
            client.may_read.set()
            received: set[str] = set()
            while len(received) < len(symbols):
                for feed in feeds:
                    feed.on_tick()
                snapshot = await client.expect("orderbook_snapshot")
                assert snapshot["sequence"] == 20
                received.add(snapshot["instrument"])
        assert not client.is_too_slow

    asyncio.run(scenario())


def test_a_feed_reads_a_copy_again_once_if_it_differs_from_the_workers_book() -> None:
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
            read_before = await count_mirror_reads()
            for checksum in (truth.checksum, 1, 1):  # a mirror that stays wrong is read once
                feed.on_batch(msgspec.structs.replace(truth, checksum=checksum))
            assert await count_mirror_reads() == read_before

    asyncio.run(scenario())


def test_a_snapshot_after_a_loss_has_the_changes_that_a_throttle_held_back() -> None:
    async def scenario() -> None:
        feed = Feed(instrument(SYMBOL))
        await write_mirror(SYMBOL, 10)
        async with Listener().reading() as client:
            topic = BOOK._replace(throttle_milliseconds=THROTTLE_MILLISECONDS)
            await feed.follow(topic, client.outbox)
            await client.expect("orderbook_snapshot")
            await write_mirror(SYMBOL, 20, [10, 11, 12, 13])  # the mirror lags behind 27
            feed.on_batch(change(SYMBOL, 10, 11, price=11))
            feed.on_batch(change(SYMBOL, 11, 12, price=12))  # is held back by the throttle
            for _ in range(2):
                feed.on_batch(heartbeat(SYMBOL, 27))  # the second arrives during the read
            assert (await client.expect("orderbook_delta"))["sequence"] == 11
            async with worker_heartbeats(feed, SYMBOL, 27):
                await asyncio.sleep(THROTTLE_MILLISECONDS / 1000 + 0.1)  # the throttle ends meanwhile
                await write_mirror(SYMBOL, 27, [10, 11, 12, 13])
                while (snapshot := await client.expect("orderbook_snapshot"))["sequence"] < 27:
                    pass
            assert len(snapshot["bids"]) == 4

    asyncio.run(scenario())
