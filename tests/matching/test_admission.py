"""Admission on a real Redis: rate limits of orders and cancels, full queues and full memory."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from pytest_django.fixtures import Settings

from base.redis import connect_redis
from orders.gateway.admission import (
    COUNT_CANCEL,
    COUNT_ORDER,
    ORDER,
    OTHER,
    Admission,
    AdmissionScript,
    Applicant,
    Verdict,
)
from orders.messages import cancel_rate_key, heartbeat_key, rate_key, stream_key

PARTITION = 11
TAKEN, LIMITED, FULL = Verdict.TAKEN, Verdict.RATE_LIMITED, Verdict.QUEUE_FULL

pytestmark = pytest.mark.usefixtures("redis")

Steps = Callable[[Any, AdmissionScript], Awaitable[Any]]


def run_on_a_matched_partition(steps: Steps) -> Any:
    async def run() -> Any:
        async with connect_redis() as client:
            await client.set(heartbeat_key(PARTITION), b"somebody", ex=60)
            script = AdmissionScript(client, PARTITION)
            await script.connect()
            try:
                return await steps(client, script)
            finally:
                await script.disconnect()

    return asyncio.run(run())


def order(client_id: str, kind: str = ORDER) -> Applicant:
    return Applicant(kind, rate_key(PARTITION, client_id), b"order")


def cancel(bucket: int, kind: str = OTHER) -> Applicant:
    return Applicant(kind, cancel_rate_key(PARTITION, bucket), b"cancel")


def verdicts(admissions: list[Admission]) -> list[Verdict]:
    return [admission.verdict for admission in admissions]


def test_orders_and_cancels_are_counted_separately(settings: Settings) -> None:
    settings.RATE_LIMIT = (2, 3600)
    settings.CANCELS_PER_ORDER = 2

    async def steps(client: Any, script: AdmissionScript) -> None:
        first = await script.admit([order("ann")] * 3 + [cancel(7)] * 5 + [order("bob"), cancel(8)])
        assert verdicts(first) == [TAKEN, TAKEN, LIMITED, *[TAKEN] * 4, LIMITED, TAKEN, TAKEN]
        assert [admission.limit for admission in first] == [2] * 3 + [4] * 5 + [2, 4]
        assert [admission.remaining for admission in first] == [1, 0, 0, 3, 2, 1, 0, 0, 1, 3]
        assert await client.xlen(stream_key(PARTITION)) == 8

    run_on_a_matched_partition(steps)


def test_an_applicant_that_is_only_counted_is_limited_and_appends_nothing(settings: Settings) -> None:
    settings.RATE_LIMIT = (2, 3600)
    settings.CANCELS_PER_ORDER = 1
    settings.ORDER_QUEUE_LENGTH_MAX = settings.CANCEL_QUEUE_LENGTH_MAX = 0

    async def steps(client: Any, script: AdmissionScript) -> None:
        counts = [order("ann", COUNT_ORDER)] * 3 + [cancel(7, COUNT_CANCEL)] * 3
        assert verdicts(await script.admit(counts)) == [TAKEN, TAKEN, LIMITED] * 2
        assert await client.xlen(stream_key(PARTITION)) == 0
        settings.ORDER_QUEUE_LENGTH_MAX = 9
        assert verdicts(await script.admit([order("ann"), order("bob")])) == [LIMITED, TAKEN]

    run_on_a_matched_partition(steps)


def test_invented_clients_do_not_fill_redis(settings: Settings) -> None:
    """Above the maximum, new clients trade uncounted. Clients that have a counter stay limited."""
    settings.RATE_LIMIT = (2, 3600)

    async def steps(client: Any, script: AdmissionScript) -> None:
        assert verdicts(await script.admit([order("ann"), cancel(1)])) == [TAKEN, TAKEN]
        settings.RATE_LIMIT_KEYS_MAX = 1
        strangers = [order(f"stranger-{number}") for number in range(50)]
        strangers += [cancel(100 + number) for number in range(50)]
        for _ in range(3):
            admissions = await script.admit(strangers)
            assert verdicts(admissions) == [TAKEN] * 100
            assert [admission.remaining for admission in admissions] == [1] * 50 + [19] * 50
        counters = [key async for key in client.scan_iter(f"exchange:{{{PARTITION}}}:*rate:*")]
        assert sorted(counters) == sorted([cancel(1).rate_key.encode(), order("ann").rate_key.encode()])  # type: ignore[union-attr]
        assert verdicts(await script.admit([order("ann")] * 2)) == [TAKEN, LIMITED]

    run_on_a_matched_partition(steps)


def test_a_counter_lives_longer_than_one_window_and_at_most_two(settings: Settings) -> None:
    settings.RATE_LIMIT = (2, 60)

    async def steps(client: Any, script: AdmissionScript) -> None:
        await script.admit([order("ann"), cancel(1)])
        for key in (rate_key(PARTITION, "ann"), cancel_rate_key(PARTITION, 1)):
            assert 60_000 < await client.pttl(key) <= 120_000

    run_on_a_matched_partition(steps)


def test_cancels_enter_a_queue_that_is_full_for_orders_in_their_order_of_arrival(settings: Settings) -> None:
    settings.RATE_LIMIT = None
    settings.ORDER_QUEUE_LENGTH_MAX = 2
    settings.CANCEL_QUEUE_LENGTH_MAX = 4

    async def steps(client: Any, script: AdmissionScript) -> None:
        applicants = [
            Applicant(kind, None, b"%d" % number)
            for number, kind in enumerate([ORDER, OTHER, ORDER, OTHER, ORDER, OTHER, OTHER])
        ]
        admissions = await script.admit(applicants)
        assert verdicts(admissions) == [TAKEN, TAKEN, FULL, TAKEN, FULL, TAKEN, FULL]
        entries = await client.xrange(stream_key(PARTITION))
        assert [fields[b"c"] for _, fields in entries] == [b"0", b"1", b"3", b"5"]

    run_on_a_matched_partition(steps)


@pytest.mark.parametrize("kind", [COUNT_ORDER, COUNT_CANCEL])
def test_counting_does_not_let_orders_be_appended_while_memory_is_full(
    settings: Settings, redis: Any, kind: str
) -> None:
    """Redis refuses writes that need memory only until a script has made its first write."""
    settings.RATE_LIMIT = (100, 3600)
    counted = order("ann", kind)

    async def steps(client: Any, script: AdmissionScript) -> None:
        assert verdicts(await script.admit([counted])) == [TAKEN]
        await client.config_set("maxmemory", "1")
        admissions = await script.admit([cancel(1), counted, order("bob"), cancel(2)])
        assert verdicts(admissions) == [TAKEN, TAKEN, Verdict.REFUSED, TAKEN]
        entries = await client.xrange(stream_key(PARTITION))
        assert [fields[b"c"] for _, fields in entries] == [b"cancel"] * 2

    before = redis.config_get("maxmemory")["maxmemory"]
    try:
        run_on_a_matched_partition(steps)
    finally:
        redis.config_set("maxmemory", before)
