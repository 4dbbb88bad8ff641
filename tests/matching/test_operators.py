"""Halts, new instruments and cancels by operators reach the worker. Without one nothing changes."""

import asyncio
from typing import Any

import pytest
from pytest_django.fixtures import Settings

from base.database import read_database
from base.redis import connect_redis
from base.refusals import RateLimited, Unavailable
from instruments.models import PARTITION_MAX, Instrument
from operators.partitions import matched, why_unmatched
from orders.desk import current_desk
from orders.messages import ReloadInstruments, Reply, ReplyKind, heartbeat_key
from orders.models import Order
from orders.operations import announce_instruments, cancel_orders
from orders.refusals import OrderNotOpen
from tests.matching.live import document, live_worker, run_scenario, submit, with_reply_to
from tests.matching.partition import cancel, new_id, place

pytestmark = pytest.mark.usefixtures("instruments", "redis")


def test_a_reload_takes_effect_before_the_next_order() -> None:
    def set_status(status: str) -> None:
        Instrument.objects.filter(symbol="BTC-USD").update(status=status)

    async def scenario() -> list[Reply]:
        async with live_worker() as gateway:
            to = gateway.process_id
            resting = with_reply_to(to, place("buy", 100, 4))
            replies = await submit(resting)
            await read_database(set_status, "halted")
            reload = ReloadInstruments(request_id=new_id(), reply_to=to)
            done, *more = await submit(
                reload, with_reply_to(to, place("buy", 100, 4)), with_reply_to(to, cancel(resting))
            )
            assert done.kind is ReplyKind.DONE
            await read_database(set_status, "active")
            assert await announce_instruments([0, 0]) == {}
            return replies + more + await submit(with_reply_to(to, place("buy", 100, 4)))

    first, halted, cancelled, again = run_scenario(scenario())
    assert document(first)["status"] == document(again)["status"] == "open"
    assert (document(halted)["status"], document(halted)["reason"]) == ("rejected", "instrument_halted")
    assert cancelled.kind is ReplyKind.CANCELLED
    assert sorted(Order.objects.values_list("status", flat=True)) == ["cancelled", "open", "rejected"]


def test_a_new_instrument_gets_a_book() -> None:
    def create() -> None:
        model = Instrument.objects.get(symbol="BTC-USD")
        model.pk, model.symbol = None, "XRP-USD"
        model.save(force_insert=True)

    async def scenario() -> list[Reply]:
        async with live_worker() as gateway:
            await read_database(create)
            await announce_instruments([0])
            return await submit(with_reply_to(gateway.process_id, place("buy", 100, 4, instrument="XRP-USD")))

    assert document(run_scenario(scenario())[0])["instrument"] == "XRP-USD"


def test_cancels_by_operators_are_not_rate_limited(settings: Settings) -> None:
    settings.RATE_LIMIT = (1, 3600)
    settings.CANCELS_PER_ORDER = 3

    async def scenario() -> tuple[Any, Any]:
        async with live_worker() as gateway:
            to = gateway.process_id
            orders = [with_reply_to(to, place("buy", 100 + number, 4)) for number in range(6)]
            gone = with_reply_to(to, place("buy", 90, 4))
            await submit(*orders, gone)
            rows = await read_database(_rows)
            await submit(with_reply_to(to, cancel(gone)))
            for order in orders[:3]:
                await current_desk().cancel(next(row for row in rows if str(row.order_id) == order.order_id))
            with pytest.raises(RateLimited):  # the client's own cancels are limited
                await current_desk().cancel(
                    next(row for row in rows if str(row.order_id) == orders[3].order_id)
                )
            return await cancel_orders(rows), await current_desk().inspect_books(0)

    result, _ = run_scenario(scenario())
    assert (len(result.cancelled), result.no_longer_open, result.failed) == (3, 4, 0)
    assert set(Order.objects.values_list("status", flat=True)) == {"cancelled"}
    reasons = list(Order.objects.order_by("order_id").values_list("reason", flat=True))
    assert reasons == ["client_request"] * 3 + ["operator"] * 3 + ["client_request"]


def test_a_cancel_of_an_order_that_is_not_open_is_not_sent() -> None:
    async def scenario() -> None:
        async with live_worker() as gateway:
            await submit(with_reply_to(gateway.process_id, place("buy", 0, 4)))
            (row,) = await read_database(_rows)
            with pytest.raises(OrderNotOpen):
                await current_desk().cancel(row)

    run_scenario(scenario())


def test_no_command_is_taken_without_a_worker() -> None:
    async def scenario() -> tuple[Any, bool]:
        async with live_worker() as gateway:
            await submit(with_reply_to(gateway.process_id, place("buy", 100, 4)))
            rows = await read_database(_rows)
        async with connect_redis() as redis:
            matched = bool(await redis.exists(heartbeat_key(0)))
        with pytest.raises(Unavailable):
            await current_desk().inspect_books(0)
        return await cancel_orders([*rows, *rows]), matched

    result, matched = run_scenario(scenario())
    assert not matched
    assert (len(result.cancelled), result.failed) == (0, 2)
    assert "No matching worker is running" in result.reason
    assert Order.objects.get().status == "open"


def test_only_partitions_with_a_live_worker_are_matched(settings: Settings) -> None:
    async def scenario() -> set[int]:
        async with live_worker(1), live_worker(PARTITION_MAX):
            return await asyncio.to_thread(matched, [0, 1, 1, PARTITION_MAX])

    assert run_scenario(scenario()) == {1, PARTITION_MAX}
    assert matched([1, PARTITION_MAX]) == set()
    assert "no worker matches partition 1 now" in (why_unmatched(1) or "")
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    assert "it is not known" in (why_unmatched(1) or "")


def _rows() -> list[Order]:
    return list(Order.objects.select_related("instrument"))
