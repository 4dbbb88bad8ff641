"""GET /healthz: its answer if all, some or no partitions are matched, and its use of Redis."""

import asyncio
from typing import Any

import msgspec
import pytest
from pytest_django.fixtures import Settings
from redis import Redis

from base.database import read_database
from base.redis import RedisSession, connect_redis
from instruments.directory import directory
from instruments.models import Instrument
from orders import messages
from orders.desk import current_desk
from orders.health import Health, HealthCheck, current_health
from orders.partition_states import PartitionState, read_partition_states
from tests.matching.live import live_worker, run_scenario
from tests.matching.partition import place
from tests.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.usefixtures("instruments", "redis")

CHECKS = 400


def list_instrument(symbol: str, partition: int) -> None:
    model = Instrument.objects.get(symbol="BTC-USD")
    model.pk, model.symbol, model.partition = None, symbol, partition
    model.save(force_insert=True)


async def check_health(settings: Settings) -> tuple[int, dict[str, Any]]:
    """Run a new check with the database's instruments. Return its status and its document."""
    settings.INSTRUMENT_CACHE_SECONDS = 0.0
    settings.INSTRUMENT_REFRESH_SECONDS = PATIENCE_SECONDS
    directory._fresh_until = 0.0
    answer: Health = await HealthCheck().run()
    document = msgspec.json.decode(answer.body)
    assert document.keys() == {"status", "timestamp", "uptime", "checks"}
    assert document["checks"].keys() == {"database", "redis", "matching"}
    return answer.status, document


async def wait_until_lost(session: RedisSession) -> None:
    """Return once the session has noticed that its connection is lost."""
    while session.is_connected:  # noqa: ASYNC110 - the session has no event for it
        await asyncio.sleep(0)


def test_health_is_degraded_if_some_partitions_have_no_worker(settings: Settings) -> None:
    async def scenario() -> None:
        await read_database(list_instrument, "XRP-USD", 1)
        await read_database(list_instrument, "ADA-USD", 7)
        async with live_worker(0):
            async with live_worker(1), live_worker(7):
                status, document = await check_health(settings)
                assert (status, document["status"]) == (200, "healthy")
                assert document["checks"]["matching"] == "ok"
            status, document = await check_health(settings)
            assert (status, document["status"]) == (200, "degraded")
            assert "no worker matches partitions 1, 7" in document["checks"]["matching"]
            assert document["checks"]["database"] == document["checks"]["redis"] == "ok"
        status, document = await check_health(settings)
        assert (status, document["status"]) == (503, "unhealthy")
        assert "no worker matches partitions 0, 1, 7" in document["checks"]["matching"]

    run_scenario(scenario())


def test_health_does_not_count_partitions_without_instruments(settings: Settings) -> None:
    async def scenario() -> None:
        async with live_worker(3):  # a worker of a partition that has no instruments yet
            status, document = await check_health(settings)
        assert (status, document["status"]) == (503, "unhealthy")
        assert "no worker matches partition 0:" in document["checks"]["matching"]

    run_scenario(scenario())


def test_health_is_unhealthy_without_redis_even_if_a_worker_runs(settings: Settings) -> None:
    async def scenario() -> None:
        async with live_worker(0):
            settings.REDIS_URL = "redis://127.0.0.1:1/0"
            status, document = await check_health(settings)
        assert (status, document["status"]) == (503, "unhealthy")
        assert document["checks"] == {
            "database": "ok",
            "redis": "not answering",
            "matching": "not answering",
        }

    run_scenario(scenario())


def test_concurrent_health_checks_open_no_new_connections_to_redis(redis: Redis) -> None:
    async def scenario() -> None:
        async with live_worker(0):
            await current_health().get()
            await current_desk().inspect_books(0)  # The worker has made all its connections then.
            before = redis.info("stats")["total_connections_received"]
            for _ in range(3):
                answers = await asyncio.gather(*(current_health().get() for _ in range(CHECKS)))
                assert {answer.status for answer in answers} == {200}
                current_health()._made = None  # as if HEALTH_SHARED_SECONDS were over
            assert redis.info("stats")["total_connections_received"] == before

    run_scenario(scenario())


def test_a_restart_of_redis_between_two_checks_is_not_an_outage(redis: Redis, settings: Settings) -> None:
    """All connections are lost, and Redis accepts new ones."""

    async def scenario() -> None:
        async with live_worker(0) as gateway:
            check = HealthCheck()
            assert (await check.run()).status == 200
            redis.client_kill_filter(_type="normal", skipme=True)
            redis.client_kill_filter(_type="pubsub", skipme=True)
            async with asyncio.timeout(PATIENCE_SECONDS):
                for session in (check._redis, check._heartbeats):
                    await wait_until_lost(session)
                are_replies_heard = False
                # Checks fail until the gateway has subscribed to its replies again.
                while (await check.run()).status != 200:
                    assert not are_replies_heard
                    are_replies_heard = gateway._replies.connected

    run_scenario(scenario())


def test_a_partitions_queue_is_as_old_as_its_oldest_command(redis: Redis) -> None:
    seconds, microseconds = redis.time()
    now = seconds * 1000 + microseconds // 1000
    for age in (90_000, 30_000):
        fields = {messages.COMMAND_FIELD: messages.encode(place("buy", 100, 4))}
        redis.xadd(messages.stream_key(5), fields, id=f"{now - age}-0")  # type: ignore[arg-type]
    redis.set(messages.heartbeat_key(2), "somebody")

    async def scenario() -> list[PartitionState]:
        async with connect_redis() as client:
            session = RedisSession(client)
            states = await read_partition_states(session, [5, 2, 2])
            await session.disconnect()
            return states

    matched, waiting = asyncio.run(scenario())
    assert matched == PartitionState(partition=2, is_matched=True, queue_length=0, oldest_seconds=0)
    assert (waiting.partition, waiting.is_matched, waiting.queue_length) == (5, False, 2)
    assert 90 <= waiting.oldest_seconds < 120
