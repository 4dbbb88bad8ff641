"""Comparison of the model of the database with PostgreSQL: the same calls must give the same answers.

The results of the simulation are true of the exchange only as far as its models are right.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from django.db import IntegrityError
from pytest_django.fixtures import Settings

from base.database import read_database
from instruments.directory import load_instruments
from matching.batch.batch import Batch, keys_of
from matching.batch.market_book import PartitionState
from matching.commit.checkpoint import Lease, LeaseLost
from matching.commit.session import KeysTaken, OrdersMissing
from matching.worker.partition_store import PartitionStore
from orders.messages import Command, PlaceCommand
from orders.models import CancelAfter, Order, OrderEvent
from tests.engine.flows import SHAPES
from tests.matching.flows import InstructedFlow
from tests.matching.partition import cancel, contents, place, random_commands, stop
from tests.patience import PATIENCE_SECONDS
from tests.simulation.database import Database, SimulatedStore
from tests.simulation.process import Faults, Process
from tests.simulation.rows import GRID, Row

BATCH_COMMANDS = 20


def process() -> Process:
    return Process("test", Random(0), Faults())


@pytest.fixture(params=["postgres", "model"])
def make_store(request: pytest.FixtureRequest, instruments: Any) -> Callable[[], Any]:
    """Return a function that makes stores of one database, each with its own connection."""
    if request.param == "postgres":
        return lambda: PartitionStore(0)
    database = Database(list(load_instruments().values()))
    return lambda: SimulatedStore(process(), database)


class Partition:
    """State, lease and position of a partition, as its worker has them."""

    def __init__(self, store: Any, lease: Lease, state: PartitionState) -> None:
        self.store = store
        self.lease = lease
        self.state = state
        self.count = 0

    async def commit(
        self, *commands: Command, known: bool = True, now: datetime | None = None
    ) -> tuple[Batch, list[Any]]:
        """Run commands, and commit them as one batch. Returns the batch and its changed rows.

        Without `known`, keys are not looked up, so that only the database itself can refuse them.
        """

        known_keys = await self.store.find_keys(keys_of(commands)) if known else {}
        batch = Batch(self.state, known_keys, now or datetime.now(UTC))
        batch.start()
        batch.run_deferred(BATCH_COMMANDS)
        for command in commands:
            assert batch.run(command)
        self.count += 1
        self.lease, result = await self.store.commit(batch, self.lease, f"{self.count}-0")
        return batch, result.changed

    async def stored_hashes(self) -> dict[str, str]:
        state = await self.store.load()
        return {symbol: market.book.state_hash() for symbol, market in state.books.items()}

    def hashes(self) -> dict[str, str]:
        return {symbol: market.book.state_hash() for symbol, market in self.state.books.items()}


@asynccontextmanager
async def partition_on(store: Any, owner: str = "one") -> AsyncIterator[Partition]:
    try:
        lease = await store.acquire(owner)
        assert lease is not None
        yield Partition(store, lease, await store.load())
    finally:
        await store.aclose()


def test_stored_batches_give_the_same_books(make_store: Callable[[], Any]) -> None:
    async def scenario() -> None:
        async with partition_on(make_store()) as partition:
            commands = list(random_commands(SHAPES[0], seed=5, commands=200))
            filled: dict[str, Any] = {}
            for start in range(0, len(commands), BATCH_COMMANDS):
                batch, changed = await partition.commit(*commands[start : start + BATCH_COMMANDS])
                assert {row.order_id for row in changed} == batch.changes.keys()
                for row in changed:
                    assert row.filled_quantity >= filled.get(row.order_id, 0)
                    filled[row.order_id] = row.filled_quantity
                    assert row.sequence == batch.changes[row.order_id].sequence
                assert await partition.stored_hashes() == partition.hashes()
            assert filled

    asyncio.run(scenario())


FLOWS = range(4)


def segments_of_flow(seed: int) -> Iterator[tuple[datetime, list[Command]]]:
    return InstructedFlow(seed, instruments=("BTC-USD",)).segments(15, 40)


@pytest.mark.parametrize("seed", FLOWS)
def test_the_model_stores_what_the_database_stores(instruments: Any, seed: int) -> None:
    """Every column of orders, order events and switches, after each batch of a flow with everything."""
    database = Database(list(load_instruments().values()))

    async def scenario() -> None:
        async with (
            partition_on(PartitionStore(0)) as real,
            partition_on(SimulatedStore(process(), database)) as model,
        ):
            for now, commands in segments_of_flow(seed):
                _, real_rows = await real.commit(*commands, now=now)
                _, model_rows = await model.commit(*commands, now=now)
                assert changed_columns(real_rows) == changed_columns(model_rows)
                assert contents(real.state) == contents(await model.store.load())
            assert await read_database(stored_orders) == model_orders(database)
            assert await read_database(stored_events) == model_events(database)
            assert await read_database(stored_switches) == database.switches

    asyncio.run(scenario())


def test_deferred_commands_are_stored_until_they_are_done(
    make_store: Callable[[], Any], settings: Settings
) -> None:
    stops = [stop("buy", 110, 1, 50) for _ in range(2)]
    late = [place("sell", 120, 1) for _ in range(BATCH_COMMANDS + 1)]

    async def scenario() -> None:
        async with partition_on(make_store()) as partition:
            await partition.commit(*stops, place("sell", 110, 1))
            settings.WORKER_BATCH_TRIGGERED_MAX = 0
            await partition.commit(place("buy", 110, 1))
            await partition.commit(*late[1:])
            await partition.commit(cancel(late[-1]))
            settings.WORKER_BATCH_TRIGGERED_MAX = 500
            for left in (BATCH_COMMANDS + 1, 2, 0):
                state = await partition.store.load()
                assert len(state.deferred) == left
                assert contents(state) == contents(partition.state)
                await partition.commit(*([late[0]] if left == BATCH_COMMANDS + 1 else []))

    asyncio.run(scenario())


def test_the_flows_have_all_kinds_of_events_and_ends(instruments: Any) -> None:
    rows: list[Row] = []

    async def scenario(database: Database, seed: int) -> None:
        async with partition_on(SimulatedStore(process(), database)) as model:
            for now, commands in segments_of_flow(seed):
                await model.commit(*commands, now=now)
        rows.extend(database.orders.values())

    for seed in FLOWS:
        asyncio.run(scenario(Database(list(load_instruments().values())), seed))
    assert {event.kind for row in rows for event in row.events} == set(OrderEvent.Kind)
    assert {row.reason for row in rows} >= {"expired", "cancel_after", "self_trade", "client_request"}


COLUMNS = (
    *("client_id", "side", "type", "price", "quantity", "filled_quantity", "filled_notional"),
    *("prevented_quantity", "status", "reason", "time_in_force", "post_only", "self_trade_prevention"),
    *("expires_at", "trigger_price", "triggered_at", "sequence", "created_at", "updated_at"),
)


def changed_columns(rows: list[Any]) -> dict[str, list[Any]]:
    """Return what a commit tells of the orders that it has changed, by order id."""
    return {row.order_id: [getattr(row, name) for name in COLUMNS] for row in rows}


def stored_orders() -> dict[str, list[Any]]:
    return {
        str(row.order_id): [row.priority, *(getattr(row, name) for name in COLUMNS)]
        for row in Order.objects.all()
    }


def model_orders(database: Database) -> dict[str, list[Any]]:
    return {
        row.order_id: [row.priority, *(getattr(row, name) for name in COLUMNS)]
        for row in database.orders.values()
    }


def stored_events() -> list[tuple[Any, ...]]:
    return [
        (
            *(event.sequence, event.kind, str(event.order_id), event.priority),
            *(event.price, event.quantity, event.trigger_price),
            *(event.taker_order_id and str(event.taker_order_id), event.prevented_quantity or 0),
        )
        for event in OrderEvent.objects.order_by("sequence")
    ]


def model_events(database: Database) -> list[tuple[Any, ...]]:
    price, lots = GRID.price, GRID.quantity
    events = [event for row in database.orders.values() for event in row.events]
    return [
        (
            *(event.sequence, event.kind, event.order_id, event.priority),
            Decimal(price.text(event.before.price_ticks)) if event.before.price_ticks else None,
            Decimal(lots.text(event.before.quantity_lots)),
            Decimal(price.text(event.before.trigger_price_ticks))
            if event.before.trigger_price_ticks
            else None,
            *(event.taker_order_id, Decimal(lots.text(event.prevented_lots))),
        )
        for event in sorted(events, key=lambda event: event.sequence)
    ]


def stored_switches() -> dict[str, datetime]:
    return {switch.client_id: switch.cancel_at for switch in CancelAfter.objects.all()}


def test_a_repeated_key_is_found_and_refused(make_store: Callable[[], Any]) -> None:
    async def scenario() -> None:
        async with partition_on(make_store()) as partition:
            first = place("buy", 100, 1, idempotency_key="once")
            await partition.commit(first)
            batch, _ = await partition.commit(place("buy", 100, 1, idempotency_key="once"))
            assert [reply.body.decode() for reply in batch.replies["tests"]] == [first.order_id]
            before = await partition.stored_hashes()
            with pytest.raises(KeysTaken):
                await partition.commit(place("buy", 100, 1, idempotency_key="once"), known=False)
            assert await partition.stored_hashes() == before

    asyncio.run(scenario())


def test_a_repeated_order_id_is_refused(make_store: Callable[[], Any]) -> None:
    async def scenario() -> None:
        async with partition_on(make_store()) as partition:
            order = place("buy", 100, 1)
            await partition.commit(order)
            await partition.commit(cancel(order))
            before = await partition.stored_hashes()
            with pytest.raises(IntegrityError):
                await partition.commit(place("sell", 200, 1), order)
            assert await partition.stored_hashes() == before

    asyncio.run(scenario())


def test_a_fill_of_an_order_that_is_not_stored_rolls_the_batch_back(make_store: Callable[[], Any]) -> None:
    async def scenario() -> None:
        async with partition_on(make_store()) as partition:
            phantom: PlaceCommand = place("sell", 100, 5)
            Batch(partition.state, {}, datetime.now(UTC)).run(phantom)  # is not committed
            with pytest.raises(OrdersMissing):
                await partition.commit(place("buy", 90, 1), place("buy", 100, 1))
            state = await partition.store.load()
            assert all(not len(market.book) for market in state.books.values())

    asyncio.run(scenario())


def test_only_the_owner_at_its_position_can_commit(make_store: Callable[[], Any], settings: Settings) -> None:
    settings.WORKER_LEASE_SECONDS = PATIENCE_SECONDS

    async def scenario() -> None:
        async with partition_on(make_store()) as first:
            await first.commit(place("buy", 100, 1))
            second_store = make_store()
            try:
                assert await second_store.acquire("two") is None
                settings.WORKER_LEASE_SECONDS = 0.2
                await first.store.renew(first.lease)
                settings.WORKER_LEASE_SECONDS = PATIENCE_SECONDS
                lease = await _acquire_when_free(second_store)
                assert (lease.epoch, lease.position) == (first.lease.epoch + 1, first.lease.position)
                await first.store.disconnect()  # the new owner has ended its session
                before = await first.stored_hashes()
                with pytest.raises(LeaseLost):
                    await first.commit(place("buy", 101, 1))
                with pytest.raises(LeaseLost):
                    await first.store.renew(first.lease)
                assert await first.stored_hashes() == before
                await second_store.release(lease)
                assert await first.store.acquire("one") is not None  # without waiting
            finally:
                await second_store.aclose()

    asyncio.run(scenario())


async def _acquire_when_free(store: Any) -> Lease:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (lease := await store.acquire("two")) is None:  # noqa: ASYNC110 - only the database knows
            await asyncio.sleep(0.01)
    assert isinstance(lease, Lease)
    return lease
