"""The worker does what is due by its clock: before any command, and also if none comes."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pytest_django.fixtures import Settings

from base.database import read_database
from base.redis import connect_redis
from base.times import unix_milliseconds
from matching.batch.batch import Batch
from matching.worker import live_books
from matching.worker.batch_clock import BatchClock
from orders.desk import current_desk
from orders.messages import Command, PlaceCommand, ReplyKind
from orders.models import LIVE_STATUSES, CancelAfter, Order
from tests.matching.live import (
    append,
    command_fields,
    live_worker,
    run_scenario,
    stored_books,
    submit,
    with_reply_to,
)
from tests.matching.partition import amend, cancel_after, place, stop
from tests.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.usefixtures("instruments", "redis")

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


class Clock:
    """The clock of the workers' machine. A test sets it forward or back."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(BatchClock, "read", lambda self: clock.now())
    return clock


def gtd(clock: Clock, after: timedelta) -> dict[str, Any]:
    return {"time_in_force": "gtd", "expires_at_ms": unix_milliseconds(clock.now() + after)}


async def until(condition: Callable[[], bool]) -> None:
    """Return once the condition holds in the database."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await read_database(condition):  # noqa: ASYNC110 - only the database knows
            await asyncio.sleep(0.01)


def live() -> set[str]:
    """Return the ids of the live orders."""
    return {str(row.order_id) for row in Order.objects.filter(status__in=LIVE_STATUSES)}


def reasons(*orders: PlaceCommand) -> list[str | None]:
    stored = {str(row.order_id): row.reason for row in Order.objects.all()}
    return [stored[order.order_id] for order in orders]


async def check_books() -> None:
    """Check that the worker's books are the database's."""
    assert await current_desk().inspect_books(0) == await read_database(stored_books)


def test_what_is_due_is_done_if_no_command_comes(clock: Clock) -> None:
    orders = [
        place("buy", 100, 1, **gtd(clock, HOUR)),
        stop("buy", 110, 1, 105, **gtd(clock, HOUR)),
        place("buy", 100, 1, client_id="bob"),
        stop("buy", 110, 1, client_id="bob", instrument="ETH-USD"),
    ]
    other = place("buy", 100, 1, client_id="eve", **gtd(clock, 3 * HOUR))

    async def scenario() -> None:
        async with live_worker() as gateway:
            commands: list[Command] = [*orders, other, cancel_after("bob", 3_600)]
            await submit(*(with_reply_to(gateway.process_id, command) for command in commands))
            assert await read_database(live) == {order.order_id for order in (*orders, other)}
            clock.ahead = HOUR + timedelta(seconds=1)
            await until(lambda: live() == {other.order_id})
            await check_books()

    run_scenario(scenario())
    assert reasons(*orders) == ["expired", "expired", "cancel_after", "cancel_after"]
    assert not CancelAfter.objects.exists()


def test_what_is_due_comes_first_after_a_day_without_a_worker(clock: Clock) -> None:
    maker = place("sell", 100, 1, **gtd(clock, HOUR))
    of_bob = place("sell", 101, 1, client_id="bob")
    taker = place("buy", 101, 2, client_id="tom")
    late = place("buy", 105, 2, client_id="tom", **gtd(clock, HOUR))

    async def scenario() -> None:
        async with live_worker() as gateway:
            commands = maker, of_bob, cancel_after("bob", 60)
            await submit(*(with_reply_to(gateway.process_id, command) for command in commands))
        async with connect_redis() as redis:
            await append(redis, command_fields(taker), command_fields(late))
        clock.ahead = DAY
        async with live_worker():
            await check_books()

    run_scenario(scenario())
    assert reasons(maker, of_bob, taker, late) == ["expired", "cancel_after", None, "expired"]
    assert live() == {taker.order_id}
    ended = Order.objects.exclude(order_id=taker.order_id).values_list("updated_at", flat=True)
    assert set(ended) == {Order.objects.get(order_id=taker.order_id).created_at}  # they share a batch


def test_a_clock_that_goes_back_revives_and_repeats_nothing(clock: Clock) -> None:
    clock.ahead = DAY
    ended = [place("buy", 100, 1, **gtd(clock, HOUR)), place("buy", 100, 1, client_id="bob")]
    later = [place("buy", 100, 1, client_id="bob"), place("buy", 100, 1, **gtd(clock, HOUR - DAY))]

    def rows() -> list[Any]:
        ids = [order.order_id for order in ended]
        return list(Order.objects.filter(order_id__in=ids).order_by("order_id").values())

    async def scenario() -> list[Any]:
        async with live_worker() as gateway:
            to = gateway.process_id
            commands: list[Command] = [*ended, cancel_after("bob", 60)]
            await submit(*(with_reply_to(to, command) for command in commands))
            clock.ahead = 2 * DAY
            await until(lambda: not live())
            before = await read_database(rows)
            clock.ahead = timedelta()
            await submit(*(with_reply_to(to, order) for order in later))
            await check_books()
        async with live_worker():  # it has never seen the later time
            await check_books()
            return before

    before = run_scenario(scenario())
    assert sorted(row["reason"] for row in before) == ["cancel_after", "expired"]
    assert rows() == before
    assert live() == {order.order_id for order in later}


def test_a_chain_of_triggers_goes_on_if_no_command_comes(settings: Settings) -> None:
    settings.WORKER_BATCH_TRIGGERED_MAX = 1
    stops = [stop("buy", 110 + number, 1) for number in range(5)]
    makers = [place("sell", 110 + number, 1, client_id="bob") for number in range(6)]

    async def scenario() -> None:
        async with live_worker() as gateway:
            commands = [*stops, *makers, place("buy", 110, 1, client_id="tom")]
            await submit(*(with_reply_to(gateway.process_id, command) for command in commands))
            await until(lambda: not live())
            await check_books()

    run_scenario(scenario())
    assert set(Order.objects.values_list("status", flat=True)) == {"filled"}


def test_a_mass_cancel_in_several_batches_is_answered_once_it_is_done(settings: Settings) -> None:
    settings.WORKER_BATCH_CANCELS_MAX = 2
    orders = [place("buy", 100 - number, 1) for number in range(5)]

    async def scenario() -> Any:
        async with live_worker() as gateway:
            await submit(*(with_reply_to(gateway.process_id, order) for order in orders))
            result = await current_desk().cancel_all("client-A", instrument=None, side=None)
            await check_books()
            return result

    result = run_scenario(scenario())
    assert (result.cancelled_count, result.cancelled) == (5, [order.order_id for order in orders])
    assert reasons(*orders) == ["client_request"] * 5


def test_what_is_due_is_done_once_if_its_batch_is_refused_for_a_used_key(
    settings: Settings, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.WORKER_LOOK_UP_SECONDS = 0.0
    undone: list[int] = []
    undo = Batch.undo

    def record(batch: Batch) -> None:
        undone.append(len(batch.changes))
        undo(batch)

    monkeypatch.setattr(Batch, "undo", record)
    due = place("sell", 100, 1, **gtd(clock, HOUR))
    of_bob = place("sell", 101, 1, client_id="bob", idempotency_key="once")
    again = place("sell", 101, 1, client_id="bob", idempotency_key="once")

    async def scenario() -> None:
        async with live_worker() as gateway:
            commands = due, of_bob, cancel_after("bob", 60)
            await submit(*(with_reply_to(gateway.process_id, command) for command in commands))
        async with connect_redis() as redis:
            await append(redis, command_fields(again))
        clock.ahead = DAY
        async with live_worker():
            await check_books()

    run_scenario(scenario())
    assert undone == [2]
    assert reasons(due, of_bob) == ["expired", "cancel_after"]
    assert Order.objects.count() == 2


def test_an_expiry_of_an_order_that_the_database_has_lost_does_not_stop_the_worker(
    settings: Settings, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.WORKER_BACKOFF_SECONDS_MAX = 0.01
    loads: list[datetime] = []
    load = live_books.LiveBooks.load

    async def record(books: live_books.LiveBooks) -> None:
        await load(books)
        loads.append(clock.now())

    monkeypatch.setattr(live_books.LiveBooks, "load", record)
    order = place("buy", 100, 1, **gtd(clock, HOUR))

    async def scenario() -> None:
        async with live_worker() as gateway:
            to = gateway.process_id
            await submit(with_reply_to(to, order))
            await read_database(lambda: Order.objects.all().delete())
            clock.ahead = DAY
            async with asyncio.timeout(PATIENCE_SECONDS):
                while len(loads) < 2:  # noqa: ASYNC110 - no event tells of it
                    await asyncio.sleep(0.01)
            await submit(with_reply_to(to, place("buy", 50, 1)))
            await check_books()

    run_scenario(scenario())
    assert Order.objects.count() == 1
    assert len(loads) == 2


def test_replies_to_amends_show_the_order_or_leave_it_to_the_database() -> None:
    """The worker does not know the fills of earlier batches."""
    fresh, filled = place("buy", 100, 5), place("buy", 101, 5)

    async def scenario() -> list[Any]:
        async with live_worker() as gateway:
            to = gateway.process_id
            await submit(with_reply_to(to, fresh))
            await submit(with_reply_to(to, filled), with_reply_to(to, place("sell", 101, 1, client_id="bob")))
            return [
                (await submit(with_reply_to(to, command)))[0]
                for command in (
                    amend(fresh, quantity_lots=4),
                    amend(fresh, quantity_lots=4),
                    amend(filled, price_ticks=99),
                    amend(filled, quantity_lots=1),
                )
            ]

    shown, same, unknown, refused = run_scenario(scenario())
    assert [one.kind for one in (shown, same, unknown)] == [ReplyKind.AMENDED] * 3
    assert json.loads(shown.body)["quantity"] == 4e-8
    assert (same.body, unknown.body) == (b"", b"")
    assert (refused.kind, refused.body) == (ReplyKind.AMEND_REFUSED, b"quantity_filled")
