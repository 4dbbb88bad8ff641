"""An amend finds its order by the order's id, if the id tells the instrument. Otherwise it is looked up."""

from collections.abc import Awaitable, Callable
from decimal import Decimal
from uuid import UUID

import msgspec
import pytest

from base.database import read_database
from base.refusals import NotFound
from instruments.directory import InstrumentDirectory
from instruments.models import Instrument
from orders.desk import OrderDesk
from orders.gateway import OrderGateway
from orders.look_ups import desk_reads
from orders.messages import PlaceCommand
from orders.order_ids import new_order_id
from orders.refusals import OrderNotOpen
from orders.requests import AmendOne, AmendRequest
from tests.matching.live import live_worker, run_scenario, submit, with_reply_to
from tests.matching.partition import cancel, new_id, place

pytestmark = pytest.mark.usefixtures("instruments", "redis")

OWNERS = (None, "client-A")


def run(steps: Callable[[OrderGateway, OrderDesk], Awaitable[None]]) -> None:
    async def scenario() -> None:
        async with live_worker() as gateway:
            await steps(gateway, OrderDesk(gateway, desk_reads(), InstrumentDirectory()))

    run_scenario(scenario())


async def place_resting(gateway: OrderGateway, symbol: str, order_id: str) -> PlaceCommand:
    order = with_reply_to(gateway.process_id, place("buy", 100, 9), order_id=order_id, instrument=symbol)
    await submit(order)
    return order


async def check_amends(gateway: OrderGateway, desk: OrderDesk, order: PlaceCommand) -> None:
    """Amend an order in all ways. Fail if another client can amend it, or if an ended order is amended."""
    order_id = UUID(order.order_id)
    for lots, owner in zip((8, 7), OWNERS, strict=True):
        changes = AmendRequest(client_id=owner, quantity=Decimal(lots) / 10**8)
        for result in (
            await desk.amend_by_id(order_id, changes),
            *await desk.amend_many([AmendOne(order_id, None, changes)]),
        ):
            document = msgspec.json.decode(result.body)  # type: ignore[union-attr]
            assert (document["instrument"], document["status"]) == (order.instrument, "open")
            assert document["quantity"] == lots / 10**8
    foreign = AmendRequest(client_id="eve", quantity=Decimal(1) / 10**8)
    with pytest.raises(NotFound):
        await desk.amend_by_id(order_id, foreign)
    (refused,) = await desk.amend_many([AmendOne(order_id, None, foreign)])
    assert isinstance(refused, NotFound)
    await submit(with_reply_to(gateway.process_id, cancel(order)))
    for owner in OWNERS:
        with pytest.raises(OrderNotOpen):
            await desk.amend_by_id(order_id, AmendRequest(client_id=owner, price=Decimal(2)))
    with pytest.raises(NotFound):
        await desk.amend_by_id(order_id, foreign)


def test_an_order_is_amended_in_the_instrument_that_its_id_tells() -> None:
    async def steps(gateway: OrderGateway, desk: OrderDesk) -> None:
        instrument = await read_database(Instrument.objects.get, symbol="BTC-USD")
        order_id = new_order_id(instrument_id=instrument.pk, client_id="client-A")
        await check_amends(gateway, desk, await place_resting(gateway, "BTC-USD", order_id))

    run(steps)


def test_orders_of_instruments_that_share_a_hint_are_looked_up() -> None:
    def create() -> Instrument:
        model = Instrument.objects.get(symbol="BTC-USD")
        model.pk, model.symbol = model.pk + 4096, "XRP-USD"
        model.save(force_insert=True)
        return model

    async def steps(gateway: OrderGateway, desk: OrderDesk) -> None:
        shared = await read_database(create)
        await desk.reload_instruments(0)
        for symbol in ("BTC-USD", "XRP-USD"):
            order_id = new_order_id(instrument_id=shared.pk, client_id="client-A")
            await check_amends(gateway, desk, await place_resting(gateway, symbol, order_id))

    run(steps)


@pytest.mark.parametrize("has_hint", [False, True])
def test_an_order_whose_id_has_no_hint_or_a_wrong_one_is_looked_up(has_hint: bool) -> None:
    async def steps(gateway: OrderGateway, desk: OrderDesk) -> None:
        other = await read_database(Instrument.objects.get, symbol="BTC-USD")
        wrong = new_order_id(instrument_id=other.pk, client_id="client-A")
        order = await place_resting(gateway, "ETH-USD", wrong if has_hint else new_id())
        await check_amends(gateway, desk, order)

    run(steps)
