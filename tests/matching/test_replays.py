"""An order that is sent again: its terms are compared before its fills are read, and look-ups are limited."""

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from pytest_django.fixtures import Settings

from base.database import read_database
from base.encoding import encode_json
from base.redis import connect_redis
from base.refusals import OutcomeUnknown, RateLimited, Unavailable
from instruments.directory import InstrumentDirectory, load_instruments
from instruments.refusals import InstrumentHalted
from orders.desk import OrderDesk
from orders.gateway import OrderGateway
from orders.gateway.link import RedisLink
from orders.look_ups import DeskReads, desk_reads
from orders.models import Order
from orders.refusals import BeyondLimits, IdempotencyKeyReused
from orders.requests import OrderRequest
from orders.selectors import find_order
from tests.matching.live import live_worker, run_scenario
from tests.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.usefixtures("instruments", "redis")


async def no_read(*args: Any) -> Any:
    raise AssertionError(f"the database was asked: {args}")


async def away(*args: Any) -> Any:
    raise Unavailable


def desk_of(gateway: OrderGateway, **reads: Any) -> OrderDesk:
    """A desk that reads no fills and does nothing for cancels, unless `reads` say otherwise."""
    nothing: dict[str, Any] = {"replays": no_read, "cancelled": no_read, "refused_cancels": no_read}
    return OrderDesk(
        gateway, DeskReads(**{**desk_reads()._asdict(), **nothing, **reads}), InstrumentDirectory()
    )


def with_gateway(work: Callable[[OrderGateway], Awaitable[Any]]) -> Any:
    async def scenario() -> Any:
        async with live_worker() as gateway:
            return await work(gateway)

    return run_scenario(scenario())


async def request(
    side: str = "buy", price: str = "100", key: str | None = "key", **fields: Any
) -> OrderRequest:
    """An order of one lot-sized unit of BTC-USD; `fields` of the instrument are changed for this request."""
    instrument = (await read_database(load_instruments))["BTC-USD"]
    return OrderRequest(
        client_id="client-A",
        instrument=msgspec.structs.replace(instrument, **fields),
        side=side,
        order_type="limit",
        price=Decimal(price),
        quantity=Decimal(1),
        idempotency_key=key,
    )


async def place_and_fill(desk: OrderDesk) -> str:
    """The id of an order with the key "key" that was filled."""
    placed = await desk.place(await request())
    await desk.place(await request("sell", key=None))
    return str(msgspec.json.decode(placed.body)["order_id"])


BEYOND = {"max_price": Decimal(50)}
HALTED = {"halted": True}


@pytest.mark.parametrize("fields", [{}, BEYOND, HALTED], ids=["taken", "beyond limits", "halted"])
def test_another_order_is_refused_before_fills_are_read(fields: dict[str, Any]) -> None:
    async def work(gateway: OrderGateway) -> None:
        desk = desk_of(gateway)
        await place_and_fill(desk)
        for change in ({"price": "101"}, {"side": "sell"}):
            with pytest.raises(IdempotencyKeyReused):
                await desk.place(await request(**change, **fields))

    with_gateway(work)


@pytest.mark.parametrize("fields", [{}, BEYOND, HALTED], ids=["taken", "beyond limits", "halted"])
def test_the_same_order_is_shown_as_it_stands(fields: dict[str, Any]) -> None:
    async def work(gateway: OrderGateway) -> None:
        first = await desk_of(gateway).place(await request())
        again = await desk_of(gateway).place(
            await request(price="100.00", **fields)
        )  # no fills: none are read
        assert (again.replayed, again.body) == (True, first.body)
        await desk_of(gateway).place(await request("sell", key=None))
        desk = desk_of(gateway, replays=desk_reads().replays)
        filled = await desk.place(await request(**fields))
        document = msgspec.json.decode(filled.body)
        assert (document["status"], len(document["trades"])) == ("filled", 1)
        assert filled.body == encode_json(await read_database(find_order, document["order_id"]))

    with_gateway(work)


@pytest.mark.parametrize(("fields", "refusal"), [(BEYOND, BeyondLimits), (HALTED, InstrumentHalted)])
def test_look_ups_of_refused_orders_are_counted(
    fields: dict[str, Any], refusal: type[Exception], settings: Settings
) -> None:
    settings.RATE_LIMIT = (3, 3600)

    async def work(gateway: OrderGateway) -> None:
        desk = desk_of(gateway)
        for _ in range(5):
            with pytest.raises(refusal):  # nothing is looked up without a key, and nothing counted
                await desk.place(await request(key=None, **fields))
        for _ in range(3):
            with pytest.raises(refusal):
                await desk.place(await request(**fields))
        for further in (fields, {}):
            with pytest.raises(RateLimited):
                await desk.place(await request(**further))

    with_gateway(work)


def test_what_cannot_be_looked_up_is_not_refused_for_good() -> None:
    """The key may have placed an order: 400 or 409 would say that it has not."""

    async def work(gateway: OrderGateway) -> None:
        desk = desk_of(gateway, refused_orders=away)
        for fields in (BEYOND, HALTED):
            with pytest.raises(Unavailable):
                await desk.place(await request(**fields))

    with_gateway(work)


def test_fills_that_cannot_be_read_are_no_other_order() -> None:
    async def work(gateway: OrderGateway) -> None:
        await place_and_fill(desk_of(gateway))
        for fields in ({}, BEYOND, HALTED):
            with pytest.raises(Unavailable):
                await desk_of(gateway, replays=away).place(await request(**fields))

    with_gateway(work)


@pytest.mark.parametrize(
    ("silent", "fields"),
    [("orders", {}), ("replays", {}), ("refused_orders", BEYOND), ("replays", BEYOND), ("replays", HALTED)],
)
def test_all_that_is_looked_up_ends_in_time_together(
    silent: str, fields: dict[str, Any], settings: Settings
) -> None:
    """Whichever read does not end, and however long it might take by itself."""

    async def never(*args: Any) -> Any:
        await asyncio.get_running_loop().create_future()

    async def work(gateway: OrderGateway) -> None:
        await place_and_fill(desk_of(gateway))
        settings.DESK_READ_SECONDS_MAX = 0.1
        reads = {"replays": desk_reads().replays, silent: never}
        async with asyncio.timeout(PATIENCE_SECONDS):
            with pytest.raises(Unavailable):
                await desk_of(gateway, **reads).place(await request(**fields))

    with_gateway(work)


@pytest.mark.parametrize(
    ("key", "advice"),
    [("key", "Send it again with the same idempotency key."), (None, "GET /orders?client_id=client-A")],
)
def test_an_order_that_nobody_answers_says_what_to_do(
    key: str | None, advice: str, settings: Settings
) -> None:
    settings.ORDER_REPLY_TIMEOUT_SECONDS = 0.3

    async def scenario() -> str:
        async with connect_redis() as redis:  # a worker that is there, and does nothing
            await redis.set("exchange:{0}:heartbeat", b"somebody", ex=60)
            async with OrderGateway(RedisLink()) as gateway:
                with pytest.raises(OutcomeUnknown) as unknown:
                    await desk_of(gateway).place(await request(key=key))
            await redis.delete("exchange:{0}:heartbeat")
        return unknown.value.message

    detail = run_scenario(scenario())
    assert advice in detail
    assert ("same" in detail) == (key is not None)


def test_an_order_that_was_changed_later_is_still_the_one_of_its_request() -> None:
    async def work(gateway: OrderGateway) -> None:
        desk = desk_of(gateway)
        await desk.place(await request())
        await read_database(Order.objects.update, price=Decimal(90), quantity=Decimal(3))
        assert (await desk.place(await request())).replayed
        with pytest.raises(IdempotencyKeyReused):
            await desk.place(await request(price="90"))

    with_gateway(work)
