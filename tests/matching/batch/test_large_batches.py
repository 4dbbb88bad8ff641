"""Sweeps: a batch ends once it has enough trades, and is published in messages of limited size."""

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
from pytest_django.fixtures import Settings

from base.redis import connect_redis
from marketdata.messages import MarketBatch
from matching.batch.batch import Batch
from matching.publish.documents import TRADES_IN_UPDATE_MAX, market_batches, order_documents
from matching.recovery import load_books
from matching.worker.partition_store import PartitionStore
from orders.desk import current_desk
from orders.messages import Command, Reply, ReplyKind, dead_letters_key
from orders.models import Order
from streaming.book_copy import BookCopy
from tests.matching.live import (
    append,
    command_fields,
    document,
    live_worker,
    run_scenario,
    submit,
    with_reply_to,
)
from tests.matching.partition import Partition, cancel, place

pytestmark = pytest.mark.usefixtures("instruments", "redis")


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Record the numbers of commands and trades of each committed batch that has commands."""
    committed: list[tuple[int, int]] = []
    commit = PartitionStore.commit

    async def record(store: PartitionStore, batch: Batch, *others: Any) -> Any:
        result = await commit(store, batch, *others)
        if batch.commands:
            committed.append((batch.commands, len(batch.trades)))
        return result

    monkeypatch.setattr(PartitionStore, "commit", record)
    return committed


def test_a_batch_ends_once_it_has_enough_trades_and_the_next_one_goes_on(
    settings: Settings, batches: list[tuple[int, int]]
) -> None:
    settings.WORKER_BATCH_TRADES_MAX = 3
    makers = [place("sell", 100, 1) for _ in range(9)]
    sweeps = [place("buy", 100, lots) for lots in (2, 2, 3, 1)]
    other = place("buy", 50, 1, instrument="ETH-USD")
    commands: list[Command] = [*makers, *sweeps, other, cancel(makers[8])]

    async def scenario() -> dict[str, Any]:
        async with connect_redis() as redis:
            await append(redis, *map(command_fields, commands))
            async with live_worker():
                return dict(await current_desk().inspect_books(0))

    states = run_scenario(scenario())
    trades = [trades for _, trades in batches]
    assert sum(commands for commands, _ in batches) == len(commands) + 1  # and the inspection
    assert [count for count in trades if count] == [4, 3, 1]
    statuses = {str(order_id): status for order_id, status in Order.objects.values_list("order_id", "status")}
    assert [statuses[order.order_id] for order in sweeps] == ["filled"] * 4
    assert (statuses[makers[8].order_id], statuses[other.order_id]) == ("cancelled", "open")
    assert states["BTC-USD"].state_hash == load_books(0)["BTC-USD"].book.state_hash()


def test_used_keys_and_invalid_entries_do_not_lose_the_rest_of_a_batch(
    settings: Settings, batches: list[tuple[int, int]]
) -> None:
    """The batch is run again once the keys are known, and other commands may fit into it then."""
    settings.WORKER_BATCH_TRADES_MAX = 2
    settings.WORKER_LOOK_UP_SECONDS = 0.0
    garbage = {b"c": b"\xc1 no msgpack"}

    async def scenario() -> tuple[list[Reply], Any]:
        async with connect_redis() as redis, live_worker() as gateway:
            to = gateway.process_id
            first = with_reply_to(to, place("sell", 100, 9, idempotency_key="once"))
            await submit(first)
            orders = [
                with_reply_to(to, place("buy", 100, 1, idempotency_key=key))
                for key in ("a", "once", "b", "c", "d")
            ]
            replies = await submit(*orders)
            await append(redis, garbage, garbage)
            replies += await submit(
                with_reply_to(to, place("buy", 100, 1)), with_reply_to(to, place("buy", 100, 1))
            )
            return replies, await redis.xrange(dead_letters_key(0))

    replies, aside = run_scenario(scenario())
    kinds = [reply.kind for reply in replies]
    assert kinds == [ReplyKind.PLACED, ReplyKind.DUPLICATE] + [ReplyKind.PLACED] * 5
    assert all(document(reply)["status"] == "filled" for reply in replies if reply.kind is ReplyKind.PLACED)
    assert all(trades <= 2 for _, trades in batches)
    assert len(aside) == 2
    assert Order.objects.count() == 7


def test_a_sweep_is_published_in_messages_that_follow_one_another(settings: Settings) -> None:
    """Each message has a limited size. A book copy that applies them all equals the book."""
    settings.MARKET_MESSAGE_CHANGES_MAX = 7
    partition = Partition()
    makers = [place("sell", 100 + number // 3, 2, client_id=f"c{number}") for number in range(60)]
    partition.run(*makers)
    copy = copy_of(partition)
    sweep = place("buy", 200, 2 * (TRADES_IN_UPDATE_MAX + 5) + 1)
    late = place("sell", 600, 1)
    batch, result = partition.run(sweep, late)
    messages = messages_of(batch, result)
    assert len(messages) > 5
    assert messages[0].previous_sequence == copy.sequence
    assert all(before.sequence == after.previous_sequence for before, after in pairwise(messages))
    for message in messages:
        changes = message.sequence - message.previous_sequence
        assert 0 < changes <= 7
        assert len(message.trades) <= changes
        assert len(message.levels) <= changes
        assert all(
            message.previous_sequence < sequence <= message.sequence for _, sequence, _ in message.orders
        )
        # This includes the update of the sweep itself.
        assert all(len(update) < 2_000 for _, _, update in message.orders)
    apply(copy, messages)
    expected = copy_of(partition)
    assert (copy.sequence, copy.checksum()) == (expected.sequence, expected.checksum())
    assert copy.levels("sell") == expected.levels("sell")
    assert sum(len(message.trades) for message in messages) == len(batch.trades) == TRADES_IN_UPDATE_MAX + 6
    client_ids = [client_id for message in messages for client_id, _, _ in message.orders]
    assert len(client_ids) == len(batch.trades) + 2
    assert [message.minute is not None for message in messages] == [False] * (len(messages) - 1) + [True]


def messages_of(batch: Batch, result: Any) -> list[MarketBatch]:
    return market_batches(result, batch, order_documents(batch))


def apply(copy: BookCopy, messages: list[MarketBatch]) -> None:
    for message in messages:
        copy.apply(message.levels, message.sequence)


def copy_of(partition: Partition) -> BookCopy:
    """Return a book copy in the current state of the book."""
    market = partition.books["BTC-USD"]
    copy = BookCopy(market.instrument.grid)
    bids, asks = market.book.depth()
    levels = [("buy", *level) for level in bids] + [("sell", *level) for level in asks]
    copy.apply([(side, ticks, lots, orders) for side, ticks, lots, orders in levels], market.book.sequence)
    return copy


def test_a_batch_with_the_most_trades_is_committed_and_published(settings: Settings) -> None:
    """One commit has as many trades as an order may have."""
    partition = Partition()
    trades = settings.ORDER_TRADES_MAX
    for start in range(0, trades + 1, 500):
        orders = min(500, trades + 1 - start)
        partition.run(*(place("sell", 1_000 + start + n, 1, client_id=f"c{n}") for n in range(orders)))
    sweep = place("buy", 0, trades + 10)
    batch, result = partition.run(sweep, now=datetime.now(UTC))
    assert (len(batch.trades), len(result.changed)) == (trades, trades)
    stored = Order.objects.get(order_id=sweep.order_id)
    assert (stored.status, stored.reason) == ("cancelled", "too_many_trades")
    messages = messages_of(batch, result)
    assert max(len(message.trades) for message in messages) == settings.MARKET_MESSAGE_CHANGES_MAX
    assert len(partition.books["BTC-USD"].book) == 1
