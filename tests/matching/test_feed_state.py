"""A feed on real servers: the orders, the day's trading and the candles beside its book."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from pytest_django.fixtures import Settings
from redis import Redis

from base.database import read_database
from instruments.directory import TradedInstrument
from marketdata.messages import MarketBatch, Minute
from marketdata.models import BookSequence
from streaming.feed import Feed
from streaming.tape import Tape
from streaming.topics import Channel, Topic
from tests.patience import PATIENCE_SECONDS
from tests.streaming.feeds import BOOK, TRADES, Listener, change, heartbeat, write_mirror

SYMBOL = "BTC-USD"
ORDERS = Topic(Channel.ORDERS, client_id="owner")
HOUR_AGO = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(hours=1)
SECONDS_MAX = PATIENCE_SECONDS


@pytest.fixture
def instrument(instruments: dict[str, TradedInstrument], redis: Redis) -> TradedInstrument:
    return instruments[SYMBOL]


def minute(number: int, trades: int, price: int = 10) -> Minute:
    """Return minute `number` after HOUR_AGO, with `trades` trades of quantity 1 at `price`."""
    exact = Decimal(price)
    return Minute(
        HOUR_AGO + timedelta(minutes=number),
        open=exact,
        high=exact,
        low=exact,
        close=exact,
        volume=Decimal(trades),
        notional=trades * exact,
        trade_count=trades,
    )


def trading(sequence: int, traded: Minute) -> MarketBatch:
    return MarketBatch(instrument=SYMBOL, previous_sequence=sequence - 1, sequence=sequence, minute=traded)


async def tick_until_heard(feed: Feed, client: Listener) -> None:
    async with asyncio.timeout(SECONDS_MAX):
        while client.has_no_message:
            feed.on_tick()
            await asyncio.sleep(0.01)


def test_a_lost_batch_renews_the_orders_snapshot_even_if_nobody_follows_the_book(
    instrument: TradedInstrument,
) -> None:
    async def scenario() -> None:
        feed = Feed(instrument)
        async with Listener().reading() as client, Listener().reading() as other:
            await feed.follow(ORDERS, client.outbox)
            await client.expect("orders_snapshot")
            for batch in (change(SYMBOL, 0, 1), heartbeat(SYMBOL, 1), change(SYMBOL, 1, 3)):
                feed.on_batch(batch)
            feed.on_batch(change(SYMBOL, 2, 3))  # a repeated batch
            feed.on_batch(change(SYMBOL, 0, 1))  # a late batch
            await feed.follow(ORDERS, other.outbox)  # returns after any read in progress
            await other.expect("orders_snapshot")
            assert client.has_no_message
            feed.on_batch(change(SYMBOL, 15, 16))
            await client.expect("orders_snapshot")
            feed.on_batch(heartbeat(SYMBOL, 40))
            await client.expect("orders_snapshot")

    asyncio.run(scenario())


def test_reading_the_mirror_does_not_make_a_stale_book_current(
    instrument: TradedInstrument, settings: Settings
) -> None:
    settings.STREAM_STALE_SECONDS = 0.05

    async def scenario() -> None:
        feed = Feed(instrument)
        await write_mirror(SYMBOL, 10)
        async with Listener().reading() as client, Listener().reading() as late:
            await feed.follow(TRADES, client.outbox)
            await tick_until_heard(feed, client)
            assert (await client.expect("error"))["code"] == "stale"
            await feed.follow(BOOK, late.outbox)
            await late.expect("orderbook_snapshot")
            assert (await late.expect("error"))["code"] == "stale"
            assert client.has_no_message
            settings.STREAM_STALE_SECONDS = PATIENCE_SECONDS  # The book is read before it is stale again.
            feed.on_batch(heartbeat(SYMBOL, 10))
            await client.expect("resumed")
            await late.expect("orderbook_snapshot")

    asyncio.run(scenario())


@pytest.mark.parametrize("interval", ["1m", "1h"])
def test_the_last_state_of_a_candle_is_sent(
    instrument: TradedInstrument, interval: str, settings: Settings
) -> None:
    settings.STREAM_CANDLE_SECONDS = 2.0  # The batches arrive within this time.
    to_the_next = 60 - HOUR_AGO.minute if interval == "1h" else 1

    async def scenario() -> None:
        feed = Feed(instrument)
        async with Listener().reading() as client:
            await feed.follow(Topic(Channel.CANDLES, interval=interval), client.outbox)
            for sequence, (number, trades) in enumerate([(0, 1), (0, 2), (to_the_next, 1), (to_the_next, 3)]):
                feed.on_batch(trading(sequence, minute(number, trades)))
            heard = [await client.expect("candle") for _ in range(3)]
            assert [candle["trade_count"] for candle in heard] == [1, 2, 3]
            assert heard[0]["time"] == heard[1]["time"] < heard[2]["time"]

    asyncio.run(scenario())


def test_only_minutes_that_arrive_during_the_read_are_added_to_the_day(instrument: TradedInstrument) -> None:
    """Earlier minutes are dropped: the database may have been restored to an earlier state."""

    async def scenario() -> None:
        was_read = asyncio.Event()
        tape = Tape(instrument, on_read=was_read.set)
        tape.read()
        async with asyncio.timeout(SECONDS_MAX):
            await was_read.wait()
            tape.on_minute(minute(1, 5, price=99))
            assert tape.statistics(datetime.now(UTC)).trade_count == 5
            was_read.clear()
            tape.read()
            await asyncio.sleep(0)  # the read begins here
            tape.on_minute(minute(2, 2))
            await was_read.wait()
        statistics = tape.statistics(datetime.now(UTC))
        assert statistics.trade_count == 2
        assert tape.last == statistics.high == 10

    asyncio.run(scenario())


def state_of(order_id: str) -> bytes:
    """Return an order's document as REST shows it."""
    texts = dict.fromkeys(
        ("client_id", "instrument", "side", "type", "status", "created_at", "updated_at"), "x"
    )
    numbers = dict.fromkeys(
        ("price", "quantity", "filled_quantity", "remaining_quantity", "average_price"), 1.5
    )
    more: dict[str, Any] = {"reason": None, "idempotency_key": None, "trades": []}
    return json.dumps({"order_id": order_id, **texts, **numbers, **more}).encode()


def test_updates_that_a_snapshot_contains_are_not_sent_again(instrument: TradedInstrument) -> None:
    """The database is ahead of the batches, so that a later follower gets a later snapshot."""

    def update(previous_sequence: int, sequence: int, name: str) -> MarketBatch:
        return MarketBatch(
            instrument=SYMBOL,
            previous_sequence=previous_sequence,
            sequence=sequence,
            orders=[("owner", sequence, state_of(name))],
        )

    books = BookSequence.objects.filter(instrument_id=instrument.instrument_id)
    books.update_or_create(instrument_id=instrument.instrument_id, defaults={"sequence": 4})

    async def scenario() -> None:
        feed = Feed(instrument)
        async with Listener().reading() as client, Listener().reading() as later:
            await feed.follow(ORDERS, client.outbox)
            assert (await client.expect("orders_snapshot"))["sequence"] == 4
            await read_database(books.update, sequence=6)
            await feed.follow(ORDERS, later.outbox)
            assert (await later.expect("orders_snapshot"))["sequence"] == 6
            batches = (
                update(2, 4, "old"),
                update(4, 6, "done"),
                update(6, 6, "rejected"),
                update(6, 7, "new"),
            )
            for batch in batches:
                feed.on_batch(batch)
            for name in ("done", "rejected", "new"):
                assert (await client.expect("order_update"))["order_id"] == name
            for name in ("rejected", "new"):
                assert (await later.expect("order_update"))["order_id"] == name

    asyncio.run(scenario())


def test_a_loss_before_the_first_batch_is_noticed(instrument: TradedInstrument) -> None:
    async def scenario() -> None:
        feed = Feed(instrument)
        async with Listener().reading() as client:
            await feed.follow(ORDERS, client.outbox)
            assert (await client.expect("orders_snapshot"))["sequence"] == 0
            feed.on_batch(change(SYMBOL, 5, 6))
            await client.expect("orders_snapshot")

    asyncio.run(scenario())


def test_an_orders_snapshot_waits_for_room_in_the_outbox(
    instrument: TradedInstrument, settings: Settings
) -> None:
    settings.STREAM_QUEUE_MESSAGES_MAX = 4

    async def scenario() -> None:
        feed = Feed(instrument)
        client = Listener()
        for _ in range(settings.STREAM_QUEUE_MESSAGES_MAX):
            client.outbox.put('{"type":"earlier"}')
        await feed.follow(ORDERS, client.outbox)
        feed.on_tick()
        async with client.reading():
            for _ in range(settings.STREAM_QUEUE_MESSAGES_MAX):
                await client.expect("earlier")
            await tick_until_heard(feed, client)
            await client.expect("orders_snapshot")
        assert not client.is_too_slow

    asyncio.run(scenario())
