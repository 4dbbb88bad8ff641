"""An order that is sent again: it is compared before fills are read, and look-ups are limited."""

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
from tests.matching.live import limit_waits, live_worker, run_scenario
from tests.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.usefixtures("instruments", "redis")


async def no_read(*args: Any) -> Any:
    raise AssertionError(f"the database was read: {args}")


async def unavailable(*args: Any) -> Any:
    raise Unavailable


def desk_of(gateway: OrderGateway, **reads: Any) -> OrderDesk:
    """Return a desk that fails if it reads fills or cancelled orders. `reads` replaces readers."""
    nothing: dict[str, Any] = {"replays": no_read, "cancelled": no_read, "refused_cancels": no_read}
    return OrderDesk(
        gateway, DeskReads(**{**desk_reads()._asdict(), **nothing, **reads}), InstrumentDirectory()
    )


def run_with_gateway(steps: Callable[[OrderGateway], Awaitable[Any]]) -> Any:
    async def scenario() -> Any:
        async with live_worker() as gateway:
            return await steps(gateway)

    return run_scenario(scenario())


async def request(
    side: str = "buy", price: str = "100", key: str | None = "key", **fields: Any
) -> OrderRequest:
    """Return an order for 1 BTC. `fields` replaces fields of the instrument in this request."""
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
    """Place an order with the key "key", fill it, and return its id."""
    placed = await desk.place(await request())
    await desk.place(await request("sell", key=None))
    return str(msgspec.json.decode(placed.body)["order_id"])


BEYOND = {"max_price": Decimal(50)}
HALTED = {"halted": True}


@pytest.mark.parametrize("fields", [{}, BEYOND, HALTED], ids=["taken", "beyond limits", "halted"])
def test_a_different_order_with_a_used_key_is_refused_before_fills_are_read(fields: dict[str, Any]) -> None:
    async def steps(gateway: OrderGateway) -> None:
        desk = desk_of(gateway)
        await place_and_fill(desk)
        for change in ({"price": "101"}, {"side": "sell"}):
            with pytest.raises(IdempotencyKeyReused):
                await desk.place(await request(**change, **fields))

    run_with_gateway(steps)


@pytest.mark.parametrize("fields", [{}, BEYOND, HALTED], ids=["taken", "beyond limits", "halted"])
def test_an_order_that_is_sent_again_is_answered_with_its_current_state(fields: dict[str, Any]) -> None:
    async def steps(gateway: OrderGateway) -> None:
        first = await desk_of(gateway).place(await request())
        # The order has no fills yet, so none are read.
        again = await desk_of(gateway).place(await request(price="100.00", **fields))
        assert (again.replayed, again.body) == (True, first.body)
        await desk_of(gateway).place(await request("sell", key=None))
        desk = desk_of(gateway, replays=desk_reads().replays)
        filled = await desk.place(await request(**fields))
        document = msgspec.json.decode(filled.body)
        assert (document["status"], len(document["trades"])) == ("filled", 1)
        assert filled.body == encode_json(await read_database(find_order, document["order_id"]))

    run_with_gateway(steps)


@pytest.mark.parametrize(("fields", "refusal"), [(BEYOND, BeyondLimits), (HALTED, InstrumentHalted)])
def test_look_ups_for_refused_orders_count_towards_the_rate_limit(
    fields: dict[str, Any], refusal: type[Exception], settings: Settings
) -> None:
    settings.RATE_LIMIT = (3, 3600)

    async def steps(gateway: OrderGateway) -> None:
        desk = desk_of(gateway)
        for _ in range(5):
            with pytest.raises(refusal):  # without a key nothing is looked up or counted
                await desk.place(await request(key=None, **fields))
        for _ in range(3):
            with pytest.raises(refusal):
                await desk.place(await request(**fields))
        for further in (fields, {}):
            with pytest.raises(RateLimited):
                await desk.place(await request(**further))

    run_with_gateway(steps)


def test_a_refused_order_whose_key_cannot_be_looked_up_is_answered_with_unavailable() -> None:
    """The key may have placed an order. The answers 400 and 409 would deny that."""

    async def steps(gateway: OrderGateway) -> None:
        desk = desk_of(gateway, refused_orders=unavailable)
        for fields in (BEYOND, HALTED):
            with pytest.raises(Unavailable):
                await desk.place(await request(**fields))

    run_with_gateway(steps)


def test_a_repeated_order_whose_fills_cannot_be_read_is_answered_with_unavailable() -> None:
    async def steps(gateway: OrderGateway) -> None:
        await place_and_fill(desk_of(gateway))
        for fields in ({}, BEYOND, HALTED):
            with pytest.raises(Unavailable):
                await desk_of(gateway, replays=unavailable).place(await request(**fields))

    run_with_gateway(steps)


@pytest.mark.parametrize(
    ("silent", "fields"),
    [("orders", {}), ("replays", {}), ("refused_orders", BEYOND), ("replays", BEYOND), ("replays", HALTED)],
)
def test_all_look_ups_of_a_request_share_one_time_limit(
    silent: str, fields: dict[str, Any], settings: Settings
) -> None:
    """The limit holds whichever of the reads does not end."""

    async def never(*args: Any) -> Any:
        await asyncio.get_running_loop().create_future()

    async def steps(gateway: OrderGateway) -> None:
        await place_and_fill(desk_of(gateway))
        settings.DESK_READ_SECONDS_MAX = 0.1
        reads = {"replays": desk_reads().replays, silent: never}
        async with asyncio.timeout(PATIENCE_SECONDS):
            with pytest.raises(Unavailable):
                await desk_of(gateway, **reads).place(await request(**fields))

    run_with_gateway(steps)


@pytest.mark.parametrize(
    ("key", "advice"),
    [("key", "Send it again with the same idempotency key."), (None, "GET /orders?client_id=client-A")],
)
def test_an_unanswered_order_tells_the_client_what_to_do(key: str | None, advice: str) -> None:
    async def scenario() -> str:
        async with connect_redis() as redis:  # as if a worker ran that never replies
            await redis.set("exchange:{0}:heartbeat", b"somebody", ex=60)
            async with OrderGateway(RedisLink()) as gateway:
                await gateway.count_order(partition=0, client_id="client-A")  # makes the connections
                limit_waits(gateway, 0.3)
                with pytest.raises(OutcomeUnknown) as unknown:
                    await desk_of(gateway).place(await request(key=key))
            await redis.delete("exchange:{0}:heartbeat")
        return unknown.value.message

    detail = run_scenario(scenario())
    assert advice in detail
    assert ("same" in detail) == (key is not None)


def test_an_order_that_was_changed_later_still_matches_its_request() -> None:
    async def steps(gateway: OrderGateway) -> None:
        desk = desk_of(gateway)
        await desk.place(await request())
        await read_database(Order.objects.update, price=Decimal(90), quantity=Decimal(3))
        assert (await desk.place(await request())).replayed
        with pytest.raises(IdempotencyKeyReused):
            await desk.place(await request(price="90"))

    run_with_gateway(steps)
