"""The worker on real servers while a chain of triggered orders goes on: what waits, and what does not."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from pytest_django.fixtures import Settings

from base.database import read_database
from base.redis import connect_redis
from matching.models import DeferredCommand
from orders.messages import Command, PlaceCommand, Reply, ReplyKind, stream_key
from orders.models import Order
from tests.matching.live import append, command_fields, live_worker, run_scenario, submit, with_reply_to
from tests.matching.partition import place, stop
from tests.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.usefixtures("instruments", "redis")

LINKS = 600
OTHER = "ETH-USD"


async def until(condition: Callable[[], bool]) -> None:
    """Return once the condition holds in the database."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await read_database(condition):  # noqa: ASYNC110 - only the database knows
            await asyncio.sleep(0.01)


async def start_chain(to: str, links: int) -> PlaceCommand:
    """Place stops that trigger one after the other. Returns the order that triggers the first one."""
    stops = [stop("buy", 110 + number, 1) for number in range(links)]
    makers = [place("sell", 110 + number, 1, client_id="bob") for number in range(links + 1)]
    await submit(*(with_reply_to(to, order) for order in (*stops, *makers)))
    return with_reply_to(to, place("buy", 110, 1, client_id="tom"))


def test_an_order_for_another_instrument_is_answered_before_a_chain_ends(settings: Settings) -> None:
    settings.WORKER_BATCH_TRIGGERED_MAX = 50

    async def scenario() -> tuple[list[PlaceCommand], list[str]]:
        async with live_worker() as gateway:
            first = await start_chain(gateway.process_id, LINKS)
            mine = with_reply_to(gateway.process_id, place("sell", 5_000, 1, client_id="eve"))
            other = with_reply_to(gateway.process_id, place("sell", 5_000, 1, instrument=OTHER))
            answered: list[str] = []

            async def send(order: PlaceCommand) -> None:
                (reply,) = await submit(order)
                assert reply.kind is ReplyKind.PLACED
                answered.append(order.order_id)

            await asyncio.gather(*(send(order) for order in (first, mine, other)))
            return [first, mine, other], answered

    (first, mine, other), answered = run_scenario(scenario())
    assert answered == [first.order_id, other.order_id, mine.order_id]
    times = {str(row.order_id): row.created_at for row in Order.objects.all()}
    links = Order.objects.filter(type="stop", status="filled").order_by("triggered_at")
    assert len(links) == LINKS
    (begin, *_, end) = [row.triggered_at for row in links]
    assert times[first.order_id] == begin
    assert end is not None
    assert times[other.order_id] < end <= times[mine.order_id]
    assert not DeferredCommand.objects.exists()


def test_a_worker_that_takes_over_goes_on_with_what_waits(settings: Settings) -> None:
    commands: list[Command] = [place("sell", 5_000, 1, client_id="eve"), place("sell", 5_000, 1)]

    async def scenario() -> int:
        async with live_worker() as gateway, connect_redis() as redis:
            first = await start_chain(gateway.process_id, 3)
            settings.WORKER_BATCH_TRIGGERED_MAX = 0  # the chain stands still
            await append(redis, *(command_fields(command) for command in (first, *commands)))
            await until(lambda: DeferredCommand.objects.count() == len(commands))
        async with connect_redis() as redis:
            left = await redis.xlen(stream_key(0))
        settings.WORKER_BATCH_TRIGGERED_MAX = 500
        async with live_worker():
            await until(lambda: not DeferredCommand.objects.exists())
        return int(left)

    assert run_scenario(scenario()) == 0  # nothing was left in the stream for the second worker
    placed = Order.objects.filter(price__isnull=False, status="open").order_by("sequence")
    expected = [command.order_id for command in commands if isinstance(command, PlaceCommand)]
    assert [str(row.order_id) for row in placed] == expected
    assert Order.objects.filter(type="stop", status="filled").count() == 3


POISON: dict[str, dict[str, Any]] = {
    "it can't be matched": {"side": "sideways"},
    "it can't be stored": {"client_id": "nul\x00"},
    "its key is taken": {"idempotency_key": "k", "client_id": "eve"},
}


@pytest.mark.parametrize("fault", POISON)
def test_a_deferred_command_that_fails_is_answered_and_the_others_are_carried_out(
    settings: Settings, fault: str
) -> None:
    settings.WORKER_LOOK_UP_SECONDS = 0.0

    async def scenario() -> list[Reply]:
        async with live_worker() as gateway:
            to = gateway.process_id
            first = await start_chain(to, 3)
            taken = place("sell", 5_000, 1, instrument=OTHER, client_id="eve", idempotency_key="k")
            await submit(with_reply_to(to, taken))
            settings.WORKER_BATCH_TRIGGERED_MAX = 0
            orders = [place("sell", 5_000 + number, 1) for number in range(3)]
            orders[1] = with_reply_to(to, orders[1], **POISON[fault])
            sent = asyncio.create_task(submit(first, *(with_reply_to(to, order) for order in orders)))
            await until(lambda: DeferredCommand.objects.count() == len(orders))
            settings.WORKER_BATCH_TRIGGERED_MAX = 500
            return await sent

    kinds = [reply.kind for reply in run_scenario(scenario())]
    expected = ReplyKind.DUPLICATE if "idempotency_key" in POISON[fault] else ReplyKind.FAILED
    assert kinds == [ReplyKind.PLACED, ReplyKind.PLACED, expected, ReplyKind.PLACED]
    assert not DeferredCommand.objects.exists()
