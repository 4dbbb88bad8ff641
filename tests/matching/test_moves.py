"""Operators move an instrument and its book to another partition, or delete the instrument."""

import asyncio
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from django.contrib.admin import site
from django.contrib.auth.models import User
from django.db import connection
from django.test import RequestFactory
from pytest_django.fixtures import Settings

from instruments.models import Instrument
from operators import admin  # noqa: F401 - registers the pages that a test looks up
from operators.audit import Actor
from operators.instruments import InstrumentError, delete_unused, move, set_status
from operators.models import AuditRecord
from operators.moving import Move, MoveError
from orders.gateway import current_gateway
from orders.messages import Command, Reply, ReplyKind
from orders.models import Order
from tests.matching.live import document, live_worker, run_scenario, with_reply_to
from tests.matching.partition import cancel, place

pytestmark = pytest.mark.usefixtures("instruments", "redis")

OPERATOR = Actor("tests")


async def submit(command: Command, partition: int) -> Reply:
    return (await current_gateway().submit(command, partition=partition, client_id=None)).reply


async def run_on_thread(call: Callable[[], Any]) -> Any:
    """Run the call on another thread, and close that thread's connection."""

    def run() -> Any:
        try:
            return call()
        finally:
            connection.close()

    return await asyncio.to_thread(run)


def find(symbol: str) -> Instrument:
    return Instrument.objects.get(symbol=symbol)


def make_move(symbol: str, partition: int, reported: list[str], **options: bool) -> Callable[[], None]:
    """Return a call that moves the instrument and appends the move's messages to `reported`."""

    def run() -> None:
        Move(
            find(symbol), partition, actor=OPERATOR, note="", without_workers=False, report=reported.append
        ).run(**{"halt": False, "resume": False, **options})

    return run


def test_a_book_moves_with_its_instrument() -> None:
    reported: list[str] = []

    async def scenario() -> list[Reply]:
        async with live_worker(0) as gateway, live_worker(1):
            to = gateway.process_id
            first, second = with_reply_to(to, place("buy", 100, 4)), with_reply_to(to, place("buy", 100, 3))
            for command in (first, second):
                assert (await submit(command, 0)).kind is ReplyKind.PLACED
            await run_on_thread(make_move("BTC-USD", 1, reported, halt=True, resume=True))
            late = await submit(with_reply_to(to, place("buy", 100, 1)), 0)
            other = await submit(with_reply_to(to, place("buy", 5, 1, instrument="ETH-USD")), 0)
            sold = await submit(with_reply_to(to, place("sell", 100, 5)), 1)
            return [late, other, sold, await submit(with_reply_to(to, cancel(second)), 1)]

    late, other, sold, cancelled = run_scenario(scenario())
    assert late.kind is ReplyKind.FAILED
    assert document(other)["status"] == "open"
    trades = document(sold)["trades"]
    assert len(trades) == 2  # with both orders that rested in the old partition
    assert cancelled.kind is ReplyKind.CANCELLED
    assert find("BTC-USD").partition == 1
    assert "BTC-USD: partition 1 has its book, at sequence 2" in reported
    acts = list(AuditRecord.objects.filter(object="BTC-USD").values_list("act", flat=True)[:3])
    assert acts == ["resume", "move", "halt"]


def test_an_active_instrument_is_not_moved() -> None:
    async def scenario() -> None:
        async with live_worker(0), live_worker(1):
            with pytest.raises(MoveError, match="not halted"):
                await run_on_thread(make_move("BTC-USD", 1, []))

    run_scenario(scenario())
    assert find("BTC-USD").partition == 0


def test_an_instrument_is_not_moved_to_a_partition_without_a_worker() -> None:
    async def scenario() -> None:
        async with live_worker(0):
            with pytest.raises(MoveError, match="no worker matches partition 1 now"):
                await run_on_thread(make_move("BTC-USD", 1, [], halt=True))

    run_scenario(scenario())
    assert (find("BTC-USD").partition, find("BTC-USD").status) == (0, "active")


def test_the_old_worker_takes_no_more_commands_for_a_moved_instrument() -> None:
    """The fence of the move suffices, without a halt and a drain before it."""

    async def scenario() -> list[Reply]:
        async with live_worker(0) as gateway:
            to = gateway.process_id
            resting = with_reply_to(to, place("buy", 100, 4))
            await submit(resting, 0)
            await run_on_thread(lambda: move(find("BTC-USD"), 1, OPERATOR, unused_only=False))
            return [
                await submit(with_reply_to(to, place("sell", 100, 4)), 0),
                await submit(with_reply_to(to, cancel(resting)), 0),
                await submit(with_reply_to(to, place("buy", 5, 1, instrument="ETH-USD")), 0),
            ]

    sold, cancelled, other = run_scenario(scenario())
    assert sold.kind is ReplyKind.FAILED
    assert cancelled.kind is ReplyKind.NOT_OPEN  # in that worker; the API then looks the order up
    assert document(other)["status"] == "open"
    assert Order.objects.get(instrument__symbol="BTC-USD").status == "open"


@pytest.mark.parametrize(
    "act",
    [lambda known: move(known, 2, OPERATOR, unused_only=False), lambda known: delete_unused(known, OPERATOR)],
)
def test_an_instrument_that_was_moved_meanwhile_is_not_moved_or_deleted(
    act: Callable[[Instrument], None],
) -> None:
    """The second of two operators still knows the old partition, and would fence that one."""
    known = find("BTC-USD")
    move(find("BTC-USD"), 1, OPERATOR, unused_only=False)
    with pytest.raises(InstrumentError, match="is in partition 1 now"):
        act(known)
    assert find("BTC-USD").partition == 1


def test_the_admins_form_saves_only_the_fields_that_were_changed_in_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A halt and a move that happen between loading and saving the form are kept."""
    instruments = site._registry[Instrument]
    monkeypatch.setattr(instruments, "announce_on_commit", lambda request, numbers: None)
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
def test_only_an_instrument_without_orders_is_deleted(used: bool) -> None:
    async def scenario() -> Reply:
        async with live_worker(0) as gateway:
            to = gateway.process_id
            if used:  # by a market order, which no book remembers
                await submit(with_reply_to(to, place("buy", 0, 4)), 0)
                with pytest.raises(InstrumentError, match="has had orders"):
                    await run_on_thread(lambda: delete_unused(find("BTC-USD"), OPERATOR))
            else:
                await run_on_thread(lambda: delete_unused(find("BTC-USD"), OPERATOR))
            return await submit(with_reply_to(to, place("buy", 100, 4)), 0)

    reply = run_scenario(scenario())
    assert (reply.kind is ReplyKind.PLACED) == used
    assert Instrument.objects.filter(symbol="BTC-USD").exists() == used
    assert not Order.objects.exclude(instrument__in=Instrument.objects.all()).exists()


@pytest.fixture
def locked(settings: Settings, instruments: Any) -> Iterator[None]:
    """Another change has BTC-USD locked, and does not end."""
    settings.OPERATOR_STATEMENT_SECONDS_MAX = 0.1
    with psycopg.connect(**connection.get_connection_params()) as other:
        other.execute("SELECT FROM instruments_instrument WHERE symbol = 'BTC-USD' FOR UPDATE")
        yield


def halt_in_the_list(monkeypatch: pytest.MonkeyPatch) -> str:
    instruments: Any = site._registry[Instrument]
    messages: list[str] = []
    monkeypatch.setattr(
        type(instruments), "message_user", lambda page, request, message, *level: messages.append(message)
    )
    request = RequestFactory().post("/")
    request.user = User(username="operator")
    instruments.halt(request, Instrument.objects.filter(symbol="BTC-USD"))
    (message,) = messages
    return message


@pytest.mark.usefixtures("locked")
def test_a_halt_does_not_wait_for_a_lock_forever(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = AuditRecord.objects.count()
    with pytest.raises(InstrumentError, match=r"waiting for longer than 0.1 s. Try again."):
        set_status(["BTC-USD"], Instrument.Status.HALTED, OPERATOR)
    assert halt_in_the_list(monkeypatch).startswith("Nothing was changed: another change, or")
    assert (find("BTC-USD").status, AuditRecord.objects.count()) == ("active", recorded)


@pytest.mark.usefixtures("locked")
def test_a_form_does_not_wait_for_a_lock_forever() -> None:
    shown = find("BTC-USD")
    shown.max_quantity /= 2
    form: Any = SimpleNamespace(changed_data=["max_quantity"], cleaned_data={}, initial={})
    with pytest.raises(InstrumentError, match=r"waiting for longer than 0.1 s. Try again."):
        site._registry[Instrument].save_model(RequestFactory().post("/"), shown, form, change=True)
