"""Idempotency keys in the worker: one order for each, across restarts, partitions and failures."""

import asyncio
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection
from pytest_django.fixtures import Settings

from instruments.models import Instrument
from matching.worker.partition_store import PartitionStore
from orders.desk import current_desk
from orders.messages import BookState, Reply, ReplyKind
from orders.models import Order
from tests.matching.live import (
    document,
    live_worker,
    run_scenario,
    slow_orders,
    stored_books,
    submit,
    with_reply_to,
)
from tests.matching.partition import new_id, place

pytestmark = pytest.mark.usefixtures("instruments", "redis")


def test_an_idempotency_key_places_one_order_in_a_batch_and_after_a_restart() -> None:
    order = place("buy", 100, 4, idempotency_key="once")

    async def scenario() -> list[Reply]:
        replies = []
        for _ in range(2):
            async with live_worker() as gateway:
                to = gateway.process_id
                replies += await submit(*(with_reply_to(to, order, order_id=new_id()) for _ in range(3)))
        return replies

    first, *others = run_scenario(scenario())
    placed = document(first)["order_id"]
    assert {(reply.kind, reply.body.decode()) for reply in others} == {(ReplyKind.DUPLICATE, placed)}
    assert str(Order.objects.get().order_id) == placed


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0.0, "a"), (3600.0, "acde")], ids=["for no time", "for a while"]
)
def test_keys_are_looked_up_for_a_while_after_one_was_used_again(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, seconds: float, expected: str
) -> None:
    """A batch with a used key is undone, and the book equals the database's in the end."""
    settings.WORKER_LOOK_UP_SECONDS = 0.0
    looked_up: list[str | None] = []
    find_keys = PartitionStore.find_keys

    async def record(store: PartitionStore, keys: Any) -> Any:
        looked_up.extend(key for _, key in keys)
        return await find_keys(store, keys)

    monkeypatch.setattr(PartitionStore, "find_keys", record)

    async def scenario() -> tuple[list[Reply], dict[str, BookState]]:
        async with live_worker() as gateway:
            settings.WORKER_LOOK_UP_SECONDS = seconds
            replies = [
                await submit(with_reply_to(gateway.process_id, place(side, 100, 2, idempotency_key=key)))
                for side, key in zip(("sell", *4 * ["buy"], "sell"), "abacde", strict=True)
            ]
            return [reply for (reply,) in replies], await current_desk().inspect_books(0)

    replies, books = run_scenario(scenario())
    assert [reply.kind for reply in replies] == [
        *(ReplyKind.PLACED, ReplyKind.PLACED, ReplyKind.DUPLICATE),
        *(ReplyKind.PLACED, ReplyKind.PLACED, ReplyKind.PLACED),
    ]
    assert "".join(key or "" for key in looked_up) == expected
    assert Order.objects.count() == 5
    assert books == stored_books()


def test_a_key_that_another_partition_takes_during_a_look_up_is_found_too(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database refuses the first key. Once that is looked up, it refuses the second one."""
    settings.WORKER_LOOK_UP_SECONDS = 0.0
    find_keys = PartitionStore.find_keys
    others = [uuid.uuid4(), uuid.uuid4()]

    async def take_another(store: PartitionStore, keys: Any) -> Any:
        found = await find_keys(store, keys)
        if len(others) == 1:
            await asyncio.to_thread(store_order, others.pop(), "b")
        return found

    monkeypatch.setattr(PartitionStore, "find_keys", take_another)

    async def scenario() -> list[Reply]:
        async with live_worker() as gateway:
            await asyncio.to_thread(store_order, others.pop(), "a")
            orders = [place("sell", 100, 1, client_id="two", idempotency_key=key) for key in "abc"]
            return await submit(*(with_reply_to(gateway.process_id, order) for order in orders))

    stored = dict(zip("ab", reversed(others), strict=True))
    replies = run_scenario(scenario())
    assert [reply.kind for reply in replies] == [ReplyKind.DUPLICATE, ReplyKind.DUPLICATE, ReplyKind.PLACED]
    assert [reply.body.decode() for reply in replies[:2]] == [str(order_id) for order_id in stored.values()]


def store_order(order_id: uuid.UUID, key: str) -> None:
    """Store a cancelled order of client `two`, as the worker of another partition would."""
    now = datetime.now(UTC)
    Order.objects.create(
        order_id=order_id,
        client_id="two",
        instrument_id=Instrument.objects.get(symbol="ETH-USD").pk,
        side="buy",
        type="limit",
        price=1,
        quantity=1,
        status="cancelled",
        reason="client_request",
        idempotency_key=key,
        sequence=1,
        created_at=now,
        updated_at=now,
    )
    connection.close()


def test_after_a_failure_a_stored_order_is_found_by_its_key(settings: Settings) -> None:
    """The order is sent again and takes the database too long. From then on, keys are looked up."""
    settings.WORKER_LOOK_UP_SECONDS = 0.0

    async def send(times: int) -> list[Reply]:
        async with live_worker() as gateway:
            settings.WORKER_LOOK_UP_SECONDS = 3600.0  # from the first failure on
            orders = [place("sell", 100, 1, client_id="slow", idempotency_key="k") for _ in range(times)]
            return [
                reply for order in orders for reply in await submit(with_reply_to(gateway.process_id, order))
            ]

    (first,) = run_scenario(send(1))
    settings.WORKER_LOOK_UP_SECONDS = 0.0
    with slow_orders():
        failed, found = run_scenario(send(2))
    assert failed.kind is ReplyKind.FAILED
    assert (found.kind, found.body.decode()) == (ReplyKind.DUPLICATE, first.request_id)
