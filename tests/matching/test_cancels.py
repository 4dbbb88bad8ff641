"""A cancel finds its order by the order's id. The database is read only if no book has it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import msgspec
import pytest
from pytest_django.fixtures import Settings

from base.database import read_database
from base.encoding import encode_json
from base.redis import connect_redis
from base.refusals import NotFound, OutcomeUnknown, RateLimited, Unavailable
from instruments.directory import InstrumentDirectory
from instruments.models import Instrument
from operators.audit import Actor
from operators.instruments import move
from orders.desk import OrderDesk, OrderResult
from orders.gateway import OrderGateway
from orders.look_ups import DeskReads, desk_reads
from orders.messages import PlaceCommand, ReplyKind, stream_key
from orders.models import Order
from orders.order_ids import client_bucket, new_order_id
from orders.refusals import OrderNotOpen
from orders.selectors import find_order
from tests.matching.live import limit_waits, live_worker, run_scenario, submit, with_reply_to
from tests.matching.partition import cancel, new_id, place
from tests.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.usefixtures("instruments", "redis")

UNKNOWN = UUID("01990000-0000-7000-8000-000000000000")


async def no_read(*args: Any) -> Any:
    raise AssertionError(f"the database was read: {args}")


NO_READS = DeskReads(*[no_read] * len(DeskReads._fields))  # type: ignore[arg-type]


def desk_of(gateway: OrderGateway, reads: DeskReads | None = None) -> OrderDesk:
    return OrderDesk(gateway, reads or desk_reads(), InstrumentDirectory())


async def place_resting(
    gateway: OrderGateway, side: str = "buy", price: int = 100, **changes: Any
) -> PlaceCommand:
    """Place an order that rests, with an id like those that the desk makes."""
    instrument = await read_database(Instrument.objects.get, symbol=changes.get("instrument", "BTC-USD"))
    order_id = new_order_id(instrument_id=instrument.pk, client_id="client-A")
    order = with_reply_to(gateway.process_id, place(side, price, 4), **{"order_id": order_id, **changes})
    (reply,) = await submit(order)
    assert reply.kind is ReplyKind.PLACED
    return order


def run_with_gateway(steps: Callable[[OrderGateway], Awaitable[Any]]) -> Any:
    async def scenario() -> Any:
        async with live_worker() as gateway:
            return await steps(gateway)

    return run_scenario(scenario())


async def is_as_stored(outcome: OrderResult, order_id: str) -> bool:
    return outcome.body == encode_json(await read_database(find_order, order_id))


@pytest.mark.parametrize("owner", [None, "client-A"])
def test_cancelling_an_order_without_fills_does_not_read_the_database(owner: str | None) -> None:
    async def steps(gateway: OrderGateway) -> None:
        for symbol in ("BTC-USD", "ETH-USD"):
            order = await place_resting(gateway, instrument=symbol)
            outcome = await desk_of(gateway, NO_READS).cancel_by_id(UUID(order.order_id), owner=owner)
            assert await is_as_stored(outcome, order.order_id)
            document = msgspec.json.decode(outcome.body)
            assert (document["status"], document["reason"]) == ("cancelled", "client_request")

    run_with_gateway(steps)


def test_cancelling_an_order_with_fills_reads_only_the_cancelled_order() -> None:
    async def steps(gateway: OrderGateway) -> None:
        order = await place_resting(gateway)
        await place_resting(gateway, "sell", 100, quantity_lots=1)
        reads = NO_READS._replace(cancelled=desk_reads().cancelled)
        outcome = await desk_of(gateway, reads).cancel_by_id(UUID(order.order_id), owner=None)
        assert await is_as_stored(outcome, order.order_id)
        document = msgspec.json.decode(outcome.body)
        assert (document["status"], len(document["trades"])) == ("cancelled", 1)

    run_with_gateway(steps)


def test_a_cancel_in_its_orders_own_batch_is_answered_with_the_whole_order() -> None:
    async def steps(gateway: OrderGateway) -> None:
        to = gateway.process_id
        order = with_reply_to(to, place("buy", 100, 4))
        _, _, reply = await submit(
            order, with_reply_to(to, place("sell", 100, 1)), with_reply_to(to, cancel(order))
        )
        assert reply.kind is ReplyKind.CANCELLED
        stored = encode_json(await read_database(find_order, order.order_id))
        assert reply.body in (b"", stored)  # empty if the commands came in two batches

    run_with_gateway(steps)


def test_a_cancel_does_not_find_another_clients_order_in_the_book() -> None:
    async def steps(gateway: OrderGateway) -> None:
        order = await place_resting(gateway)
        with pytest.raises(NotFound):
            await desk_of(gateway, NO_READS).cancel_by_id(UUID(order.order_id), owner="somebody-else")
        assert (await read_database(find_order, order.order_id)).status == "open"  # type: ignore[union-attr]

    run_with_gateway(steps)


@pytest.mark.parametrize("owner", [None, "client-A"])
def test_an_order_id_with_no_hint_or_a_wrong_hint_is_looked_up(owner: str | None) -> None:
    """Orders that an earlier version placed have such ids."""

    async def steps(gateway: OrderGateway) -> None:
        eth = await read_database(Instrument.objects.get, symbol="ETH-USD")
        misleading = new_order_id(instrument_id=eth.pk, client_id="client-A")
        for order_id in (new_id(), misleading):
            order = await place_resting(gateway, order_id=order_id)
            outcome = await desk_of(gateway).cancel_by_id(UUID(order_id), owner=owner)
            assert await is_as_stored(outcome, order.order_id)
            assert msgspec.json.decode(outcome.body)["status"] == "cancelled"
            with pytest.raises(OrderNotOpen):
                await desk_of(gateway).cancel_by_id(UUID(order_id), owner=owner)

    run_with_gateway(steps)


def test_a_cancel_does_not_find_another_clients_order_in_the_database() -> None:
    async def steps(gateway: OrderGateway) -> None:
        order = await place_resting(gateway, order_id=new_id())
        for _ in range(2):
            with pytest.raises(NotFound):
                await desk_of(gateway).cancel_by_id(UUID(order.order_id), owner="somebody-else")
            await submit(with_reply_to(gateway.process_id, cancel(order)))

    run_with_gateway(steps)


def test_a_cancel_of_an_unknown_order_is_not_found() -> None:
    async def steps(gateway: OrderGateway) -> None:
        btc = await read_database(Instrument.objects.get, symbol="BTC-USD")
        plausible = UUID(new_order_id(instrument_id=btc.pk, client_id="client-A"))
        for order_id in (UNKNOWN, plausible):
            with pytest.raises(NotFound):
                await desk_of(gateway).cancel_by_id(order_id, owner=None)

    run_with_gateway(steps)


def test_orders_of_instruments_that_share_a_hint_are_cancelled() -> None:
    def create() -> None:
        model = Instrument.objects.get(symbol="BTC-USD")
        model.pk, model.symbol = model.pk + 4096, "XRP-USD"
        model.save(force_insert=True)

    async def steps(gateway: OrderGateway) -> None:
        desk = desk_of(gateway, NO_READS)
        await read_database(create)
        await desk_of(gateway).reload_instruments(0)
        for symbol in ("BTC-USD", "XRP-USD"):
            order = await place_resting(gateway, instrument=symbol)
            outcome = await desk.cancel_by_id(UUID(order.order_id), owner=None)
            assert msgspec.json.decode(outcome.body)["instrument"] == symbol

    run_with_gateway(steps)


def test_an_order_is_cancelled_in_the_partition_that_its_instrument_moved_to() -> None:
    """This process still has a copy of the instruments from before the move."""

    def move() -> None:
        Instrument.objects.filter(symbol="ETH-USD").update(partition=1)

    async def scenario() -> None:
        async with live_worker() as gateway:
            order = await place_resting(gateway, instrument="ETH-USD")
            desk = desk_of(gateway)
            await desk._instruments.all()
        await read_database(move)
        async with live_worker(0), live_worker(1):
            desk._instruments._fresh_until = float("inf")
            outcome = await desk.cancel_by_id(UUID(order.order_id), owner="client-A")
        assert msgspec.json.decode(outcome.body)["status"] == "cancelled"

    run_scenario(scenario())


@pytest.mark.parametrize("by_operator", [False, True])
def test_a_cancel_during_a_move_does_not_report_the_order_as_ended(
    settings: Settings, by_operator: bool
) -> None:
    """The old worker has given the instrument up, and the new one has not loaded it yet."""
    settings.INSTRUMENT_CACHE_SECONDS = 3600.0

    def move_away() -> None:
        instrument = Instrument.objects.get(symbol="ETH-USD")
        move(instrument, 1, Actor("tests"), unused_only=False)

    def find_row(order_id: str) -> Order:
        return Order.objects.select_related("instrument").get(order_id=order_id)

    async def scenario() -> None:
        async with live_worker(0) as gateway, live_worker(1):
            order = await place_resting(gateway, instrument="ETH-USD")
            desk = desk_of(gateway)
            await desk.inspect_books(1)  # The new worker has read the instruments, and knows of no move.
            await read_database(move_away)
            if by_operator:
                row = await read_database(find_row, order.order_id)
                cancelling = desk.cancel(row, by_operator=True)
            else:
                cancelling = desk.cancel_by_id(UUID(order.order_id), owner=None)
            with pytest.raises(Unavailable, match="being moved"):
                await cancelling
            await desk.reload_instruments(1)
            outcome = await desk.cancel_by_id(UUID(order.order_id), owner=None)
            assert msgspec.json.decode(outcome.body)["status"] == "cancelled"

    run_scenario(scenario())


def test_cancels_that_need_a_look_up_are_rate_limited(settings: Settings) -> None:
    settings.RATE_LIMIT = (1, 3600)
    settings.CANCELS_PER_ORDER = 3

    async def steps(gateway: OrderGateway) -> None:
        order = await place_resting(gateway)
        desk = desk_of(gateway)
        for _ in range(3):
            with pytest.raises(NotFound) as refused:
                await desk.cancel_by_id(UNKNOWN, owner="client-A")
            assert refused.value.allowance is not None
            assert refused.value.allowance.limit == 3
        for order_id, owner in ((UNKNOWN, "client-A"), (UUID(order.order_id), None)):
            # The budget is the same whether the request or the order's id names the client.
            with pytest.raises(RateLimited):
                await desk.cancel_by_id(order_id, owner=owner)
        assert client_bucket("client-B") != client_bucket("client-A")
        with pytest.raises(NotFound):
            await desk.cancel_by_id(UNKNOWN, owner="client-B")

    run_with_gateway(steps)


def test_cancels_are_taken_when_the_stream_is_full_of_orders(settings: Settings) -> None:
    """First the gateway's own limit refuses an order, then the full stream does."""

    async def steps(gateway: OrderGateway) -> None:
        order = await place_resting(gateway)
        settings.ORDER_QUEUE_LENGTH_MAX = 0
        gateway._orders_max = 0
        with pytest.raises(Unavailable):
            await submit(with_reply_to(gateway.process_id, place("buy", 90, 1)))
        gateway._orders_max = 10
        with pytest.raises(Unavailable):
            await submit(with_reply_to(gateway.process_id, place("buy", 90, 1)))
        outcome = await desk_of(gateway, NO_READS).cancel_by_id(UUID(order.order_id), owner=None)
        assert msgspec.json.decode(outcome.body)["status"] == "cancelled"
        assert await read_database(Order.objects.count) == 1

    run_with_gateway(steps)


def test_an_unanswered_cancel_tells_the_client_to_send_it_again() -> None:
    async def scenario() -> str:
        async with live_worker() as gateway:
            order = await place_resting(gateway)
        async with connect_redis() as redis:  # as if a worker ran that never replies
            await redis.set("exchange:{0}:heartbeat", b"somebody", ex=60)
            silent = OrderGateway(gateway._link)
            await silent.count_cancel(partition=0, client_bucket=0)  # makes the connections
            limit_waits(silent, 0.3)
            with pytest.raises(OutcomeUnknown) as unknown:
                await desk_of(silent).cancel_by_id(UUID(order.order_id), owner=None)
            await silent._replies.aclose()
            assert await redis.xlen(stream_key(0)) == 1
            await redis.delete("exchange:{0}:heartbeat")
        return unknown.value.message

    assert "send the cancel again" in run_scenario(scenario())


def test_cancels_do_not_wait_for_newer_instruments(settings: Settings) -> None:
    """They use the copy at hand, however old it is. A newer one is read meanwhile."""
    settings.INSTRUMENT_CACHE_SECONDS = 0.0

    async def steps(gateway: OrderGateway) -> None:
        order = await place_resting(gateway)
        desk = desk_of(gateway, NO_READS)
        known = await desk._instruments.all()
        outcome = await desk.cancel_by_id(UUID(order.order_id), owner=None)
        assert msgspec.json.decode(outcome.body)["status"] == "cancelled"
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await desk._instruments.all() is known:  # noqa: ASYNC110 - no event tells of the new copy
                await asyncio.sleep(0.001)

    run_with_gateway(steps)
