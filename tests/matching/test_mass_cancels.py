"""Requests about several orders go to all partitions that they concern. One of them may be silent."""

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from pytest_django.fixtures import Settings

from base.database import read_database
from base.redis import connect_redis
from base.refusals import OutcomeUnknown, Refusal, Unavailable
from instruments.directory import InstrumentDirectory, TradedInstrument
from instruments.models import Instrument
from orders.desk import OrderDesk, OrderResult
from orders.gateway import current_gateway
from orders.look_ups import desk_reads
from orders.messages import heartbeat_key
from orders.models import CancelAfter, Order
from orders.requests import AmendOne, AmendRequest, OrderRequest
from tests.matching.live import POLL_SECONDS, limit_waits, live_worker, run_scenario
from tests.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.usefixtures("redis")

SYMBOLS = ("BTC-USD", "ETH-USD")  # in partitions 0 and 1
Steps = Callable[[OrderDesk, list[UUID]], Awaitable[None]]


@pytest.fixture(autouse=True)
def _two_partitions(instruments: dict[str, TradedInstrument]) -> None:
    Instrument.objects.filter(symbol=SYMBOLS[1]).update(partition=1)


async def place(desk: OrderDesk, client_id: str) -> list[OrderResult | Refusal]:
    """Place an order in each instrument, with one request."""
    instruments = [await desk._instruments.get(symbol) for symbol in SYMBOLS]
    one = {"side": "buy", "order_type": "limit", "price": Decimal(1), "quantity": Decimal(1)}
    return list(
        await desk.place_many(
            [OrderRequest(client_id=client_id, instrument=each, **one) for each in instruments]  # type: ignore[arg-type]
        )
    )


def stored(client_id: str) -> list[Order]:
    """Return the client's orders, by instrument and by age."""
    return list(Order.objects.filter(client_id=client_id).order_by("instrument__symbol", "order_id"))


async def statuses(client_id: str) -> list[str]:
    return [row.status for row in await read_database(stored, client_id)]


async def until_statuses(client_id: str, expected: list[str]) -> None:
    """Wait until the client's orders have these statuses. A slow worker may reply too late."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await statuses(client_id) != expected:  # noqa: ASYNC110 - no event tells of a commit
            await asyncio.sleep(POLL_SECONDS)


def run(steps: Steps, *, second: str = "matching") -> None:
    """Run steps with a desk, two workers, and the ids of ann's orders, one in each partition.

    Before the steps, the second worker may stop: it is "stopped", or "frozen" if its heartbeat stays,
    as that of a frozen worker does for a while.
    """

    async def scenario() -> None:
        async with live_worker(0), connect_redis() as redis:
            desk = OrderDesk(current_gateway(), desk_reads(), InstrumentDirectory())
            async with live_worker(1):
                for client_id in ("ann", "bob"):
                    await place(desk, client_id)
                    await until_statuses(client_id, ["open", "open"])
                ids = [row.order_id for row in await read_database(stored, "ann")]
                if second == "matching":
                    await steps(desk, ids)
                    return
            if second == "frozen":
                await redis.set(heartbeat_key(1), b"frozen", ex=60)
            await steps(desk, ids)

    run_scenario(scenario())


@pytest.mark.parametrize("by_ids", [False, True])
def test_all_partitions_cancel_the_orders_of_a_client(by_ids: bool) -> None:
    async def steps(desk: OrderDesk, ids: list[UUID]) -> None:
        if by_ids:
            result = await desk.cancel_by_ids(ids, owner="ann")
        else:
            result = await desk.cancel_all("ann", instrument=None, side=None)
        assert (set(result.cancelled), result.cancelled_count) == ({str(one) for one in ids}, 2)
        assert (result.not_open, result.not_found) == ([], [])
        assert await statuses("ann") == ["cancelled", "cancelled"]
        assert await statuses("bob") == ["open", "open"]

    run(steps)


def test_a_client_with_many_orders_gets_one_answer_about_all_pieces(settings: Settings) -> None:
    settings.WORKER_BATCH_CANCELS_MAX = 1

    async def steps(desk: OrderDesk, ids: list[UUID]) -> None:
        for _ in range(3):
            await place(desk, "ann")
        result = await desk.cancel_all("ann", instrument=None, side=None)
        assert result.cancelled_count == len(set(result.cancelled)) == 8
        assert await statuses("ann") == ["cancelled"] * 8

    run(steps)


def test_a_mass_cancel_that_takes_too_long_may_be_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def steps(desk: OrderDesk, ids: list[UUID]) -> None:
        with monkeypatch.context() as patch:
            patch.setattr("orders.desk.mass.CANCEL_SECONDS_MAX", 0)
            with pytest.raises(OutcomeUnknown, match="safely send the request again"):
                await desk.cancel_all("ann", instrument=None, side=None)
        await desk.cancel_all("ann", instrument=None, side=None)
        await until_statuses("ann", ["cancelled", "cancelled"])

    run(steps)


def test_a_switch_is_set_in_all_partitions_and_removed_from_all() -> None:
    def switches() -> list[tuple[int, Any]]:
        return list(CancelAfter.objects.order_by("partition").values_list("partition", "cancel_at"))

    async def steps(desk: OrderDesk, ids: list[UUID]) -> None:
        result = await desk.cancel_after("ann", 60)
        armed = await read_database(switches)
        assert [partition for partition, _ in armed] == [0, 1]
        assert result.cancel_at == max(cancel_at for _, cancel_at in armed)
        assert (await desk.cancel_after("ann", 0)).cancel_at is None
        assert await read_database(switches) == []

    run(steps)


def test_what_the_other_partitions_did_stands_if_one_has_no_worker() -> None:
    async def steps(desk: OrderDesk, ids: list[UUID]) -> None:
        placed, refused = await place(desk, "ann")
        assert isinstance(placed, OrderResult)
        assert isinstance(refused, Unavailable)
        amends = [AmendOne(one, None, AmendRequest(client_id="ann", quantity=Decimal(2))) for one in ids]
        amended, refused = await desk.amend_many(amends)
        assert isinstance(amended, OrderResult)
        assert isinstance(refused, Unavailable)
        assert await statuses("ann") == ["open", "open", "open"]
        with pytest.raises(Unavailable, match="What the others did stands"):
            await desk.cancel_by_ids(ids, owner="ann")
        assert await statuses("ann") == ["cancelled", "open", "open"]
        with pytest.raises(Unavailable, match="What the others did stands"):
            await desk.cancel_all("ann", instrument=None, side=None)
        with pytest.raises(Unavailable, match="What the others did stands"):
            await desk.cancel_after("ann", 60)
        assert await statuses("ann") == ["cancelled", "cancelled", "open"]
        instrument = await desk._instruments.get(SYMBOLS[0])
        result = await desk.cancel_all("bob", instrument=instrument, side=None)  # concerns one partition
        assert result.cancelled_count == 1

    run(steps, second="stopped")


def test_the_outcome_is_unknown_if_a_partition_does_not_reply() -> None:
    async def steps(desk: OrderDesk, ids: list[UUID]) -> None:
        limit_waits(current_gateway(), 0.3)
        for request in (
            desk.cancel_by_ids(ids, owner="ann"),
            desk.cancel_all("ann", instrument=None, side=None),
            desk.cancel_after("ann", 60),
        ):
            with pytest.raises(OutcomeUnknown, match="send the request again"):
                await request
        await until_statuses("ann", ["cancelled", "open"])

    run(steps, second="frozen")
