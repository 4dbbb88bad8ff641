"""Instruments that go to another partition with their books, and those that go for good."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.admin import site
from django.db import connection
from django.test import RequestFactory

from instruments.models import Instrument
from operators import admin  # noqa: F401 - registers the pages that a test looks up
from operators.audit import Actor
from operators.instruments import InstrumentError, delete_unused, move, set_status
from operators.models import AuditRecord
from operators.moving import Move, MoveError
from orders.gateway import current_gateway
from orders.messages import Command, Reply, ReplyKind
from orders.models import Order
from tests.matching.live import document, live_worker, mine, run_scenario
from tests.matching.partition import cancel, place

pytestmark = pytest.mark.usefixtures("instruments", "redis")

OPERATOR = Actor("tests")


async def submit(command: Command, partition: int) -> Reply:
    return (await current_gateway().submit(command, partition=partition, client_id=None)).reply


async def on_thread(call: Callable[[], Any]) -> Any:
    """A thread's connection ends with it."""

    def run() -> Any:
        try:
            return call()
        finally:
            connection.close()

    return await asyncio.to_thread(run)


def find(symbol: str) -> Instrument:
    return Instrument.objects.get(symbol=symbol)


def moving(symbol: str, partition: int, told: list[str], **options: bool) -> Callable[[], None]:
    def run() -> None:
        Move(find(symbol), partition, actor=OPERATOR, note="", without_workers=False, report=told.append).run(
            **{"halt": False, "resume": False, **options}
        )

    return run


def test_a_book_goes_with_its_instrument() -> None:
    told: list[str] = []

    async def scenario() -> list[Reply]:
        async with live_worker(0) as gateway, live_worker(1):
            to = gateway.process_id
            first, second = mine(to, place("buy", 100, 4)), mine(to, place("buy", 100, 3))
            for command in (first, second):
                assert (await submit(command, 0)).kind is ReplyKind.PLACED
            await on_thread(moving("BTC-USD", 1, told, halt=True, resume=True))
            late = await submit(mine(to, place("buy", 100, 1)), 0)
            other = await submit(mine(to, place("buy", 5, 1, instrument="ETH-USD")), 0)
            sold = await submit(mine(to, place("sell", 100, 5)), 1)
            return [late, other, sold, await submit(mine(to, cancel(second)), 1)]

    late, other, sold, cancelled = run_scenario(scenario())
    assert late.kind is ReplyKind.FAILED
    assert document(other)["status"] == "open"
    trades = document(sold)["trades"]
    assert len(trades) == 2  # both that rested in the old partition, in their order
    assert cancelled.kind is ReplyKind.CANCELLED
    assert find("BTC-USD").partition == 1
    assert "BTC-USD: partition 1 has its book, at sequence 2" in told
    acts = list(AuditRecord.objects.filter(object="BTC-USD").values_list("act", flat=True)[:3])
    assert acts == ["resume", "move", "halt"]


def test_an_active_instrument_is_not_moved() -> None:
    async def scenario() -> None:
        async with live_worker(0), live_worker(1):
            with pytest.raises(MoveError, match="not halted"):
                await on_thread(moving("BTC-USD", 1, []))

    run_scenario(scenario())
    assert find("BTC-USD").partition == 0


def test_without_a_worker_nothing_is_moved() -> None:
    async def scenario() -> None:
        async with live_worker(0):
            with pytest.raises(MoveError, match="no worker matches partition 1 now"):
                await on_thread(moving("BTC-USD", 1, [], halt=True))

    run_scenario(scenario())
    assert (find("BTC-USD").partition, find("BTC-USD").status) == (0, "active")


def test_what_the_old_worker_has_not_committed_by_the_move_is_not_taken() -> None:
    """The move's fence, without the halt and the drain before it."""

    async def scenario() -> list[Reply]:
        async with live_worker(0) as gateway:
            to = gateway.process_id
            resting = mine(to, place("buy", 100, 4))
            await submit(resting, 0)
            await on_thread(lambda: move(find("BTC-USD"), 1, OPERATOR, unused_only=False))
            return [
                await submit(mine(to, place("sell", 100, 4)), 0),
                await submit(mine(to, cancel(resting)), 0),
                await submit(mine(to, place("buy", 5, 1, instrument="ETH-USD")), 0),
            ]

    sold, cancelled, other = run_scenario(scenario())
    assert sold.kind is ReplyKind.FAILED
    assert cancelled.kind is ReplyKind.NOT_OPEN  # there; the API then looks the order up
    assert document(other)["status"] == "open"
    assert Order.objects.get(instrument__symbol="BTC-USD").status == "open"


@pytest.mark.parametrize(
    "act",
    [lambda known: move(known, 2, OPERATOR, unused_only=False), lambda known: delete_unused(known, OPERATOR)],
)
def test_an_instrument_that_was_moved_meanwhile_is_left_where_it_is(
    act: Callable[[Instrument], None],
) -> None:
    """Two operators at once: the second one knows, and would fence, a partition that it has left."""
    known = find("BTC-USD")
    move(find("BTC-USD"), 1, OPERATOR, unused_only=False)
    with pytest.raises(InstrumentError, match="is in partition 1 now"):
        act(known)
    assert find("BTC-USD").partition == 1


def test_the_admins_form_changes_only_what_was_changed_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A halt and a move that come between its reading and its writing stay."""
    instruments = site._registry[Instrument]
    monkeypatch.setattr(instruments, "_tell_workers", lambda request, numbers: None)
    shown = find("BTC-USD")
    set_status(["BTC-USD"], Instrument.Status.HALTED, OPERATOR)
    move(find("BTC-USD"), 1, OPERATOR, unused_only=False)
    shown.max_quantity /= 2
    form: Any = SimpleNamespace(
        changed_data=["max_quantity", "confirm_unmatched"], cleaned_data={}, initial={}
    )
    instruments.save_model(RequestFactory().post("/"), shown, form, change=True)
    now = find("BTC-USD")
    assert (now.status, now.partition, now.max_quantity) == ("halted", 1, shown.max_quantity)


@pytest.mark.parametrize("used", [False, True])
def test_only_an_instrument_without_orders_goes_for_good(used: bool) -> None:
    async def scenario() -> Reply:
        async with live_worker(0) as gateway:
            to = gateway.process_id
            if used:  # no book remembers it: it found nobody to trade with
                await submit(mine(to, place("buy", 0, 4)), 0)
                with pytest.raises(InstrumentError, match="has had orders"):
                    await on_thread(lambda: delete_unused(find("BTC-USD"), OPERATOR))
            else:
                await on_thread(lambda: delete_unused(find("BTC-USD"), OPERATOR))
            return await submit(mine(to, place("buy", 100, 4)), 0)

    reply = run_scenario(scenario())
    assert (reply.kind is ReplyKind.PLACED) == used
    assert Instrument.objects.filter(symbol="BTC-USD").exists() == used
    assert not Order.objects.exclude(instrument__in=Instrument.objects.all()).exists()
