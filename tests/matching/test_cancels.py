"""A cancel finds its order by the order's id, and the database is asked only if no book has it there."""

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
from tests.matching.live import live_worker, mine, run_scenario, submit
from tests.matching.partition import cancel, new_id, place

pytestmark = pytest.mark.usefixtures("instruments", "redis")

UNKNOWN = UUID("01990000-0000-7000-8000-000000000000")


async def no_read(*args: Any) -> Any:
    raise AssertionError(f"the database was asked: {args}")


NO_READS = DeskReads(*[no_read] * len(DeskReads._fields))  # type: ignore[arg-type]


def desk_of(gateway: OrderGateway, reads: DeskReads | None = None) -> OrderDesk:
    return OrderDesk(gateway, reads or desk_reads(), InstrumentDirectory())


async def resting(gateway: OrderGateway, side: str = "buy", price: int = 100, **changes: Any) -> PlaceCommand:
    """An order that rests, with an id as the desk makes them."""
    instrument = await read_database(Instrument.objects.get, symbol=changes.get("instrument", "BTC-USD"))
    order_id = new_order_id(instrument_id=instrument.pk, client_id="client-A")
    order = mine(gateway.process_id, place(side, price, 4), **{"order_id": order_id, **changes})
    (reply,) = await submit(order)
    assert reply.kind is ReplyKind.PLACED
    return order


def with_gateway(work: Callable[[OrderGateway], Awaitable[Any]]) -> Any:
    async def scenario() -> Any:
        async with live_worker() as gateway:
            return await work(gateway)

    return run_scenario(scenario())


async def is_as_stored(outcome: OrderResult, order_id: str) -> bool:
    return outcome.body == encode_json(await read_database(find_order, order_id))


@pytest.mark.parametrize("owner", [None, "client-A"])
def test_an_order_without_fills_is_cancelled_without_the_database(owner: str | None) -> None:
    async def work(gateway: OrderGateway) -> None:
        for symbol in ("BTC-USD", "ETH-USD"):
            order = await resting(gateway, instrument=symbol)
            outcome = await desk_of(gateway, NO_READS).cancel_by_id(UUID(order.order_id), owner=owner)
            assert await is_as_stored(outcome, order.order_id)
            document = msgspec.json.decode(outcome.body)
            assert (document["status"], document["reason"]) == ("cancelled", "client_request")

    with_gateway(work)


def test_an_order_with_fills_is_read_by_those_who_have_cancelled() -> None:
    async def work(gateway: OrderGateway) -> None:
        order = await resting(gateway)
        await resting(gateway, "sell", 100, quantity_lots=1)
        reads = NO_READS._replace(cancelled=desk_reads().cancelled)
        outcome = await desk_of(gateway, reads).cancel_by_id(UUID(order.order_id), owner=None)
        assert await is_as_stored(outcome, order.order_id)
        document = msgspec.json.decode(outcome.body)
        assert (document["status"], len(document["trades"])) == ("cancelled", 1)

    with_gateway(work)


def test_an_order_that_is_placed_filled_and_cancelled_in_one_batch_is_told_whole() -> None:
    async def work(gateway: OrderGateway) -> None:
        to = gateway.process_id
        order = mine(to, place("buy", 100, 4))
        _, _, reply = await submit(order, mine(to, place("sell", 100, 1)), mine(to, cancel(order)))
        assert reply.kind is ReplyKind.CANCELLED
        stored = encode_json(await read_database(find_order, order.order_id))
        assert reply.body in (b"", stored)  # empty if the stream was read in between

    with_gateway(work)


def test_another_clients_order_is_unknown_and_stays() -> None:
    async def work(gateway: OrderGateway) -> None:
        order = await resting(gateway)
        with pytest.raises(NotFound):
            await desk_of(gateway, NO_READS).cancel_by_id(UUID(order.order_id), owner="somebody-else")
        assert (await read_database(find_order, order.order_id)).status == "open"  # type: ignore[union-attr]

    with_gateway(work)


@pytest.mark.parametrize("owner", [None, "client-A"])
def test_ids_without_a_hint_and_of_another_instrument_are_looked_up(owner: str | None) -> None:
    """As orders have them that were placed by an earlier version."""

    async def work(gateway: OrderGateway) -> None:
        eth = await read_database(Instrument.objects.get, symbol="ETH-USD")
        astray = new_order_id(instrument_id=eth.pk, client_id="client-A")
        for order_id in (new_id(), astray):
            order = await resting(gateway, order_id=order_id)
            outcome = await desk_of(gateway).cancel_by_id(UUID(order_id), owner=owner)
            assert await is_as_stored(outcome, order.order_id)
            assert msgspec.json.decode(outcome.body)["status"] == "cancelled"
            with pytest.raises(OrderNotOpen):
                await desk_of(gateway).cancel_by_id(UUID(order_id), owner=owner)

    with_gateway(work)


def test_an_order_of_another_client_is_unknown_if_it_is_looked_up_too() -> None:
    async def work(gateway: OrderGateway) -> None:
        order = await resting(gateway, order_id=new_id())
        for _ in range(2):
            with pytest.raises(NotFound):
                await desk_of(gateway).cancel_by_id(UUID(order.order_id), owner="somebody-else")
            await submit(mine(gateway.process_id, cancel(order)))

    with_gateway(work)


def test_an_id_of_no_order_is_unknown() -> None:
    async def work(gateway: OrderGateway) -> None:
        btc = await read_database(Instrument.objects.get, symbol="BTC-USD")
        likely = UUID(new_order_id(instrument_id=btc.pk, client_id="client-A"))
        for order_id in (UNKNOWN, likely):
            with pytest.raises(NotFound):
                await desk_of(gateway).cancel_by_id(order_id, owner=None)

    with_gateway(work)


def test_instruments_may_share_a_hint() -> None:
    def create() -> None:
        model = Instrument.objects.get(symbol="BTC-USD")
        model.pk, model.symbol = model.pk + 4096, "XRP-USD"
        model.save(force_insert=True)

    async def work(gateway: OrderGateway) -> None:
        desk = desk_of(gateway, NO_READS)
        await read_database(create)
        await desk_of(gateway).reload_instruments(0)
        for symbol in ("BTC-USD", "XRP-USD"):
            order = await resting(gateway, instrument=symbol)
            outcome = await desk.cancel_by_id(UUID(order.order_id), owner=None)
            assert msgspec.json.decode(outcome.body)["instrument"] == symbol

    with_gateway(work)


def test_an_order_of_an_instrument_that_has_moved_is_cancelled_where_it_is_now() -> None:
    """While this process still knows the partition that it was on."""

    def move() -> None:
        Instrument.objects.filter(symbol="ETH-USD").update(partition=1)

    async def scenario() -> None:
        async with live_worker() as gateway:
            order = await resting(gateway, instrument="ETH-USD")
            desk = desk_of(gateway)
            await desk._instruments.all()
        await read_database(move)
        async with live_worker(0), live_worker(1):
            desk._instruments._fresh_until = float("inf")
            outcome = await desk.cancel_by_id(UUID(order.order_id), owner="client-A")
        assert msgspec.json.decode(outcome.body)["status"] == "cancelled"

    run_scenario(scenario())


@pytest.mark.parametrize("by_operator", [False, True])
def test_an_order_whose_book_is_on_its_way_is_not_called_ended(settings: Settings, by_operator: bool) -> None:
    """The old worker has given the instrument up, and the new one has not looked yet."""
    settings.INSTRUMENT_CACHE_SECONDS = 3600.0

    def move_away() -> None:
        instrument = Instrument.objects.get(symbol="ETH-USD")
        move(instrument, 1, Actor("tests"), unused_only=False)

    def find_row(order_id: str) -> Order:
        return Order.objects.select_related("instrument").get(order_id=order_id)

    async def scenario() -> None:
        async with live_worker(0) as gateway, live_worker(1):
            order = await resting(gateway, instrument="ETH-USD")
            desk = desk_of(gateway)
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


def test_cancels_that_look_something_up_are_limited(settings: Settings) -> None:
    settings.RATE_LIMIT = (1, 3600)
    settings.CANCELS_PER_ORDER = 3

    async def work(gateway: OrderGateway) -> None:
        order = await resting(gateway)
        desk = desk_of(gateway)
        for _ in range(3):
            with pytest.raises(NotFound) as refused:
                await desk.cancel_by_id(UNKNOWN, owner="client-A")
            assert refused.value.allowance is not None
            assert refused.value.allowance.limit == 3
        for order_id, owner in ((UNKNOWN, "client-A"), (UUID(order.order_id), None)):
            with pytest.raises(RateLimited):  # one budget, whether the owner is named or the id tells
                await desk.cancel_by_id(order_id, owner=owner)
        assert client_bucket("client-B") != client_bucket("client-A")
        with pytest.raises(NotFound):
            await desk.cancel_by_id(UNKNOWN, owner="client-B")

    with_gateway(work)


def test_cancels_pass_when_no_order_does(settings: Settings) -> None:
    """The stream, and the places of the API process, are full of orders."""

    async def work(gateway: OrderGateway) -> None:
        order = await resting(gateway)
        settings.ORDER_QUEUE_LENGTH_MAX = 0
        gateway._orders_max = 0
        with pytest.raises(Unavailable):
            await submit(mine(gateway.process_id, place("buy", 90, 1)))
        gateway._orders_max = 10
        with pytest.raises(Unavailable):
            await submit(mine(gateway.process_id, place("buy", 90, 1)))
        outcome = await desk_of(gateway, NO_READS).cancel_by_id(UUID(order.order_id), owner=None)
        assert msgspec.json.decode(outcome.body)["status"] == "cancelled"
        assert await read_database(Order.objects.count) == 1

    with_gateway(work)


def test_a_cancel_that_nobody_answers_says_that_it_may_be_sent_again(settings: Settings) -> None:
    settings.ORDER_REPLY_TIMEOUT_SECONDS = 0.3

    async def scenario() -> str:
        async with live_worker() as gateway:
            order = await resting(gateway)
        async with connect_redis() as redis:  # a worker that is there, and does nothing
            await redis.set("exchange:{0}:heartbeat", b"somebody", ex=60)
            silent = OrderGateway(gateway._link)
            with pytest.raises(OutcomeUnknown) as unknown:
                await desk_of(silent).cancel_by_id(UUID(order.order_id), owner=None)
            await silent._replies.aclose()
            assert await redis.xlen(stream_key(0)) == 1
            await redis.delete("exchange:{0}:heartbeat")
        return unknown.value.message

    assert "send the cancel again" in run_scenario(scenario())


def test_no_cancel_waits_for_the_instruments(settings: Settings) -> None:
    """The copy at hand is good enough, however old; a newer one is read meanwhile."""
    settings.INSTRUMENT_CACHE_SECONDS = 0.0

    async def work(gateway: OrderGateway) -> None:
        order = await resting(gateway)
        desk = desk_of(gateway, NO_READS)
        known = await desk._instruments.all()
        outcome = await desk.cancel_by_id(UUID(order.order_id), owner=None)
        assert msgspec.json.decode(outcome.body)["status"] == "cancelled"
        async with asyncio.timeout(10):
            while await desk._instruments.all() is known:  # noqa: ASYNC110 - only the database knows when
                await asyncio.sleep(0.001)

    with_gateway(work)
