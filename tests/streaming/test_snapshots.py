"""Snapshots of books: exact although the book changes, and no more than the limits allow."""

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings as django_settings
from pytest_django.fixtures import Settings
from redis import Redis

from loadtools.local_book import LocalBook
from streaming import metrics
from streaming.feed import Feed
from tests.patience import PATIENCE_SECONDS
from tests.streaming.feeds import BOOK, Listener, change, instrument, write_mirror

SYMBOL = "SNAPSHOT-USD"
LEVELS = 5_000


@pytest.fixture(autouse=True)
def _delete_books_from_redis() -> Iterator[None]:
    yield
    with Redis.from_url(django_settings.REDIS_URL) as redis:
        for key in redis.scan_iter("exchange:*"):
            redis.delete(key)


@pytest.fixture(autouse=True)
def _make_snapshots_without_pause(settings: Settings) -> None:
    settings.STREAM_SNAPSHOT_SECONDS = 0.0


def snapshots_made() -> float:
    return float(metrics.snapshots._value.get())


def local_book(snapshot: Any) -> LocalBook:
    return LocalBook(snapshot, tick_size="1", lot_size="1")


async def follow_to(client: Listener, book: LocalBook, sequence: int) -> None:
    while book.sequence < sequence:
        book.apply(await client.expect("orderbook_delta"))


@pytest.mark.parametrize("throttle_milliseconds", [0, 100])
def test_a_snapshot_is_exact_though_the_book_changes_while_it_is_made(throttle_milliseconds: int) -> None:
    """A snapshot has the state at one sequence. Deltas continue it, as the checksum proves."""

    async def scenario() -> None:
        feed = Feed(instrument(SYMBOL))
        await write_mirror(SYMBOL, 10, range(1, LEVELS + 1))
        topic = BOOK._replace(throttle_milliseconds=throttle_milliseconds)
        async with Listener().reading() as client, Listener().reading() as late:
            await feed.follow(topic, client.outbox)
            sequence = 10
            while client.has_no_message:  # the snapshot takes several turns of the loop
                assert sequence < 10_000
                feed.on_batch(change(SYMBOL, sequence, sequence + 1, LEVELS - sequence % 20, sequence % 3))
                sequence += 1
                await asyncio.sleep(0)
                if sequence == 12:
                    await feed.follow(topic, late.outbox)
            for listener in (client, late):
                snapshot = await listener.expect("orderbook_snapshot")
                assert 10 <= snapshot["sequence"] < sequence - 5  # the book has changed meanwhile
                book = local_book(snapshot)
                feed.on_batch(change(SYMBOL, sequence, sequence + 1, 7, 5))
                sequence += 1
                await follow_to(listener, book, sequence)
                assert {price: (quantity, orders) for price, quantity, orders in book.levels()[0]} == {
                    level.price_ticks: (level.quantity_lots, level.orders)
                    for level in feed._copy.levels("buy")
                }

    asyncio.run(asyncio.wait_for(scenario(), PATIENCE_SECONDS))


def test_a_snapshot_made_in_slices_equals_one_made_at_once(settings: Settings) -> None:
    async def snapshot() -> Any:
        feed = Feed(instrument(SYMBOL))
        async with Listener().reading() as client:
            await feed.follow(BOOK, client.outbox)
            return await client.expect("orderbook_snapshot")

    async def scenario() -> tuple[Any, Any]:
        await write_mirror(SYMBOL, 10, range(1, 100))
        at_once = await snapshot()
        settings.STREAM_SNAPSHOT_LEVELS_AT_ONCE = 7
        return at_once, await snapshot()

    at_once, in_slices = asyncio.run(asyncio.wait_for(scenario(), PATIENCE_SECONDS))
    for message in (at_once, in_slices):
        message.pop("timestamp")
    assert at_once == in_slices
    assert [level["price"] for level in at_once["bids"]] == list(range(99, 0, -1))


def test_a_loss_while_a_snapshot_is_made_leads_to_another_one() -> None:
    async def scenario() -> None:
        feed = Feed(instrument(SYMBOL))
        await write_mirror(SYMBOL, 10, range(1, LEVELS + 1))
        async with Listener().reading() as first, Listener().reading() as client:
            await feed.follow(BOOK, first.outbox)
            await first.expect("orderbook_snapshot")
            feed.on_batch(change(SYMBOL, 10, 11, price=1, orders=0))
            await write_mirror(SYMBOL, 20, range(1, LEVELS))
            await feed.follow(BOOK, client.outbox)
            for _ in range(5):  # turns of the loop, in which the snapshot is begun
                await asyncio.sleep(0)
            feed.on_batch(change(SYMBOL, 19, 20, price=LEVELS, orders=0))
            while client.has_no_message:
                feed.on_tick()
                await asyncio.sleep(0.01)
            snapshot = await client.expect("orderbook_snapshot")
            assert (snapshot["sequence"], len(snapshot["bids"])) == (20, LEVELS - 1)
            client.outbox.put('{"type":"end"}')
            await client.expect("end")

    asyncio.run(asyncio.wait_for(scenario(), PATIENCE_SECONDS))


def test_many_waiting_clients_receive_the_same_snapshot(settings: Settings) -> None:
    settings.STREAM_SNAPSHOT_SECONDS = 0.3

    async def scenario() -> None:
        feed = Feed(instrument(SYMBOL))
        await write_mirror(SYMBOL, 10, range(1, LEVELS + 1))
        async with Listener().reading() as first:
            began = time.monotonic()
            await feed.follow(BOOK, first.outbox)
            await first.expect("orderbook_snapshot")
            before = snapshots_made()
            feed.on_batch(change(SYMBOL, 10, 11, price=3, orders=0))
            crowd = [Listener() for _ in range(50)]
            for listener in crowd:
                await feed.follow(BOOK, listener.outbox)
            texts = set()
            for listener in crowd:
                async with listener.reading():
                    texts.add(json.dumps(await listener.expect("orderbook_snapshot")))
            assert time.monotonic() - began > settings.STREAM_SNAPSHOT_SECONDS
            assert len(texts) == 1
            assert snapshots_made() - before == 1

    asyncio.run(asyncio.wait_for(scenario(), PATIENCE_SECONDS))


def test_snapshots_of_small_books_share_a_budget(settings: Settings) -> None:
    settings.STREAM_SNAPSHOT_LEVELS_PER_SECOND = 1_000

    async def scenario() -> None:
        feed = Feed(instrument(SYMBOL))
        await write_mirror(SYMBOL, 10, range(1, 451))  # with the fixed cost of a snapshot: two a second
        sequence, made, before, began = 10, 0.0, snapshots_made(), time.monotonic()
        async with Listener().reading() as client:
            await feed.follow(BOOK, client.outbox)
            while made < 5 or sequence < 110:
                feed.on_batch(change(SYMBOL, sequence, sequence + 1, 500 + sequence % 2, sequence % 4 // 2))
                sequence += 1
                await feed.follow(BOOK, client.outbox)  # asks for another snapshot each time
                await asyncio.sleep(0.001)
                made = snapshots_made() - before
        # Two are allowed from the start, and the last one may exceed the budget.
        assert made <= 3 + 2 * (time.monotonic() - began)

    asyncio.run(asyncio.wait_for(scenario(), PATIENCE_SECONDS))


def test_one_client_receives_a_bounded_amount_of_snapshots(settings: Settings) -> None:
    settings.STREAM_SNAPSHOT_BYTES_PER_SECOND = 100_000

    async def scenario() -> None:
        feed = Feed(instrument(SYMBOL))
        await write_mirror(SYMBOL, 10, range(1, 1_000))  # a snapshot of about 37 kB
        received = 0
        async with Listener().reading() as client:
            began = time.monotonic()
            for _ in range(20):
                await feed.follow(BOOK, client.outbox)
                await asyncio.sleep(0)
            seconds = time.monotonic() - began
            client.outbox.put('{"type":"end"}')
            while (await client.next())["type"] != "end":
                received += 1
        # One second's amount may be ahead. The last snapshot may exceed it.
        assert 3 <= received <= 1 + (1 + seconds) * 100_000 / 36_000

    asyncio.run(asyncio.wait_for(scenario(), PATIENCE_SECONDS))
