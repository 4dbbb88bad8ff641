"""The worker on real servers: its replies, the entries it sets aside, the failures it survives."""

import asyncio
import contextlib
import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from pytest_django.fixtures import Settings

from base.redis import connect_redis
from base.times import parse_time
from matching.publish.publisher import Publisher
from matching.worker.partition_store import PartitionStore
from orders.desk import current_desk
from orders.messages import Reply, ReplyKind, dead_letters_key, stream_key
from orders.models import Order
from tests.engine.flows import SHAPES
from tests.matching.live import (
    append,
    command_fields,
    document,
    live_worker,
    run_scenario,
    slow_orders,
    stored_books,
    submit,
    with_reply_to,
)
from tests.matching.partition import place, random_commands
from tests.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.usefixtures("instruments", "redis")


def test_replies_show_orders_as_they_are_after_their_batch() -> None:
    async def scenario() -> list[Reply]:
        async with live_worker() as gateway:
            to = gateway.process_id
            return await submit(
                with_reply_to(to, place("sell", 100, 10)), with_reply_to(to, place("buy", 100, 4))
            )

    maker, taker = map(document, run_scenario(scenario()))
    assert taker["status"] == "filled"
    assert [fill["liquidity"] for fill in taker["trades"]] == ["taker"]
    assert maker["status"] in ("open", "partially_filled")  # open if it was a batch of its own
    assert Order.objects.get(order_id=maker["order_id"]).status == "partially_filled"


POISON: dict[str, dict[str, Any]] = {
    "an unknown side": {"side": "sideways"},
    "an unknown type": {"order_type": "iceberg"},
    "a stop order without a trigger": {"order_type": "stop"},
    "an unknown time in force": {"time_in_force": "later"},
    "a market order that expires": {"order_type": "market", "price_ticks": 0, "time_in_force": "gtd"},
    "a quantity of zero": {"quantity_lots": 0},
    "a limit order without a price": {"price_ticks": 0},
    "a price beyond 64 bits": {"price_ticks": 2**63},
    "an id that is not a UUID": {"order_id": "not-a-uuid"},
    "a text that PostgreSQL can't hold": {"client_id": "nul\x00"},
    "an instrument that is not there": {"instrument": "DOGE-USD"},
}


@pytest.mark.parametrize("fault", POISON)
def test_a_command_that_fails_is_answered_and_the_next_one_is_matched(fault: str) -> None:
    async def scenario() -> list[Reply]:
        async with live_worker() as gateway:
            to = gateway.process_id
            return await submit(
                with_reply_to(to, place("sell", 100, 10)),
                with_reply_to(to, place("sell", 101, 10), **POISON[fault]),
                with_reply_to(to, place("buy", 100, 4)),
            )

    first, poison, last = run_scenario(scenario())
    assert poison.kind is ReplyKind.FAILED
    assert poison.body
    assert document(first)["status"] in ("open", "partially_filled")
    assert document(last)["status"] == "filled"
    assert Order.objects.count() == 2


def test_a_command_that_takes_the_database_too_long_fails_and_the_others_are_matched() -> None:
    """If PostgreSQL limits statements, a batch that takes longer must not be repeated for ever."""

    async def scenario() -> list[Reply]:
        async with live_worker() as gateway:
            to = gateway.process_id
            orders = [place("sell", 100 + number, 1) for number in range(3)]
            return await submit(
                *(with_reply_to(to, order) for order in orders[:2]),
                with_reply_to(to, orders[2], client_id="slow"),
            )

    with slow_orders():
        *others, slow = run_scenario(scenario())
    assert slow.kind is ReplyKind.FAILED
    assert [document(reply)["status"] for reply in others] == ["open", "open"]
    assert Order.objects.count() == 2


def test_a_used_order_id_is_refused() -> None:
    """The first order with the id may still rest, or be filled."""

    async def scenario() -> list[Reply]:
        async with live_worker() as gateway:
            to = gateway.process_id
            resting, filled = (
                with_reply_to(to, place("sell", 100, 10)),
                with_reply_to(to, place("buy", 100, 4)),
            )
            placed = await submit(resting, filled)
            return (
                placed
                + await submit(resting)
                + await submit(filled)
                + await submit(with_reply_to(to, place("buy", 100, 1)))
            )

    replies = run_scenario(scenario())
    kinds = [reply.kind for reply in replies]
    assert kinds == [ReplyKind.PLACED] * 2 + [ReplyKind.FAILED] * 2 + [ReplyKind.PLACED]
    assert sorted(Order.objects.values_list("status", flat=True)) == ["filled", "filled", "partially_filled"]


def test_entries_that_are_not_commands_are_set_aside() -> None:
    garbage = [{b"c": b"\xc1 no msgpack"}, {b"other": b"field"}, {b"c": b"\x92\xa5place\x01"}, {b"c": b""}]

    async def scenario() -> tuple[list[Reply], list[Any], int]:
        async with connect_redis() as redis:
            await append(redis, *garbage)
            async with live_worker() as gateway:
                await append(redis, *garbage)
                replies = await submit(with_reply_to(gateway.process_id, place("buy", 100, 4)))
                aside: Any = await redis.xrange(dead_letters_key(0))
                return replies, aside, await redis.xlen(stream_key(0))

    replies, aside, waiting = run_scenario(scenario())
    assert document(replies[0])["status"] == "open"
    assert [fields[b"payload"] for _, fields in aside] == [fields.get(b"c", b"") for fields in garbage] * 2
    assert all(fields[b"reason"] for _, fields in aside)
    assert waiting == 0


def test_commands_that_wait_in_the_stream_are_matched_once_despite_a_restart() -> None:
    orders = [place("buy", 100 + number, 1) for number in range(20)]

    async def scenario() -> dict[str, Any]:
        async with connect_redis() as redis:
            await append(redis, *map(command_fields, orders))
            for _ in range(2):
                async with live_worker():
                    states = await current_desk().inspect_books(0)
            return dict(states)

    states = run_scenario(scenario())
    assert states["BTC-USD"].sequence == len(orders) == Order.objects.count()


def test_the_workers_books_equal_the_databases() -> None:
    commands = list(random_commands(SHAPES[0], seed=21, commands=500))

    async def scenario() -> Any:
        async with live_worker() as gateway:
            to = gateway.process_id
            await submit(*(with_reply_to(to, command) for command in commands))
            return await current_desk().inspect_books(0)

    states = run_scenario(scenario())
    assert states == stored_books()
    assert states["BTC-USD"].sequence > 0


def test_times_go_back_only_with_a_clock_that_was_set_far_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small correction of the clock does not set the times back."""
    ahead = [timedelta()]

    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) + ahead[-1]

    monkeypatch.setattr("matching.worker.batch_clock.datetime", Clock)

    async def scenario() -> list[datetime]:
        async with live_worker() as gateway:
            times = []
            for minutes in (0.0, 0.01, 0.0, 180.0, 0.0):
                ahead.append(timedelta(minutes=minutes))
                (reply,) = await submit(with_reply_to(gateway.process_id, place("sell", 100, 1)))
                times.append(parse_time(json.loads(reply.body)["created_at"]))
            return times

    first, later, same, far, back = run_scenario(scenario())
    assert first < later <= same
    assert timedelta(hours=2) < far - same
    assert abs(back - same) < timedelta(minutes=1)


def test_a_lease_counts_from_the_beginning_of_the_commit_that_renewed_it(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a slow commit, the heartbeat renews the lease first, because half of it may be over."""
    settings.WORKER_HEARTBEAT_SECONDS = 0.1
    events: list[str] = []

    def record_calls(cls: type, name: str) -> None:
        call = getattr(cls, name)

        async def record(*args: Any, **kwargs: Any) -> Any:
            result = await call(*args, **kwargs)
            events.append(name)
            return result

        monkeypatch.setattr(cls, name, record)

    record_calls(PartitionStore, "commit")
    record_calls(PartitionStore, "renew")
    record_calls(Publisher, "heartbeat")

    async def scenario() -> None:
        async with live_worker() as gateway:
            await submit(with_reply_to(gateway.process_id, place("buy", 100, 3)))
            committed = events.index("commit")
            async with asyncio.timeout(PATIENCE_SECONDS):
                while "heartbeat" not in events[committed:]:  # noqa: ASYNC110 - no event tells of it
                    await asyncio.sleep(0.01)
            assert "renew" in events[committed : events.index("heartbeat", committed)]

    with slow_inserts(3 * settings.WORKER_HEARTBEAT_SECONDS):
        run_scenario(scenario())


@contextlib.contextmanager
def slow_inserts(seconds: float) -> Iterator[None]:
    """Make statements that insert orders take this many seconds."""
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql"
            f" AS 'BEGIN PERFORM pg_sleep({seconds:f}); RETURN NULL; END'"
        )
        cursor.execute("CREATE TRIGGER slow AFTER INSERT ON orders_order EXECUTE FUNCTION slow()")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP FUNCTION slow CASCADE")
