"""GET /healthz by partitions: all matched, some, none; and who is asked how often."""

import asyncio
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from django.db import connection
from pytest_django import DjangoDbBlocker
from pytest_django.fixtures import Settings
from redis import Redis

from base.database import read_database
from base.redis import RedisSession, connect_redis
from instruments.directory import directory
from instruments.models import Instrument
from orders import health, messages
from orders.health import Health, HealthCheck, current_health
from orders.partition_states import PartitionState, read_partition_states
from tests.matching.live import live_worker, run_scenario
from tests.matching.partition import place
from tests.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.usefixtures("instruments", "redis")

CHECKS = 400


@pytest.fixture(scope="module", autouse=True)
def _close_connection(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """The thread of the health check keeps its connection; the test database can't be dropped with it."""
    yield
    with django_db_blocker.unblock():
        asyncio.run(health._read_database(close_connection))


def close_connection() -> None:
    """Of the thread that it runs on."""
    connection.close()


def list_instrument(symbol: str, partition: int) -> None:
    model = Instrument.objects.get(symbol="BTC-USD")
    model.pk, model.symbol, model.partition = None, symbol, partition
    model.save(force_insert=True)


async def checked(settings: Settings) -> tuple[int, dict[str, Any]]:
    """The answer of a new check, with instruments as the database has them."""
    settings.INSTRUMENT_CACHE_SECONDS = 0.0
    directory._fresh_until = 0.0
    answer: Health = await HealthCheck().run()
    document = msgspec.json.decode(answer.body)
    assert document.keys() == {"status", "timestamp", "uptime", "checks"}
    assert document["checks"].keys() == {"database", "redis", "matching"}
    return answer.status, document


async def lost(session: RedisSession) -> None:
    """Return once the session has noticed that it is cut off."""
    while session.is_connected:  # noqa: ASYNC110 - it has no event
        await asyncio.sleep(0)


def test_one_partition_of_several_without_a_worker_is_degraded(settings: Settings) -> None:
    async def scenario() -> None:
        await read_database(list_instrument, "XRP-USD", 1)
        await read_database(list_instrument, "ADA-USD", 7)
        async with live_worker(0):
            async with live_worker(1), live_worker(7):
                status, document = await checked(settings)
                assert (status, document["status"]) == (200, "healthy")
                assert document["checks"]["matching"] == "ok"
            status, document = await checked(settings)
            assert (status, document["status"]) == (200, "degraded")
            assert "no worker matches partitions 1, 7" in document["checks"]["matching"]
            assert document["checks"]["database"] == document["checks"]["redis"] == "ok"
        status, document = await checked(settings)
        assert (status, document["status"]) == (503, "unhealthy")
        assert "no worker matches partitions 0, 1, 7" in document["checks"]["matching"]

    run_scenario(scenario())


def test_a_partition_without_instruments_is_not_asked_for(settings: Settings) -> None:
    async def scenario() -> None:
        async with live_worker(3):  # a standby of what is to come matches nothing that is traded
            status, document = await checked(settings)
        assert (status, document["status"]) == (503, "unhealthy")
        assert "no worker matches partition 0:" in document["checks"]["matching"]

    run_scenario(scenario())


def test_without_a_server_that_all_need_it_is_unhealthy_however_many_partitions_are_matched(
    settings: Settings,
) -> None:
    async def scenario() -> None:
        async with live_worker(0):
            settings.REDIS_URL = "redis://127.0.0.1:1/0"
            status, document = await checked(settings)
        assert (status, document["status"]) == (503, "unhealthy")
        assert document["checks"] == {
            "database": "ok",
            "redis": "not answering",
            "matching": "not answering",
        }

    run_scenario(scenario())


def test_hundreds_of_checks_at_a_time_ask_redis_once(redis: Redis) -> None:
    async def scenario() -> None:
        async with live_worker(0):
            await current_health().get()
            before = redis.info("stats")["total_connections_received"]
            for _ in range(3):
                answers = await asyncio.gather(*(current_health().get() for _ in range(CHECKS)))
                assert {answer.status for answer in answers} == {200}
                current_health()._made = None  # as after HEALTH_SHARED_SECONDS
            assert redis.info("stats")["total_connections_received"] == before

    run_scenario(scenario())


def test_a_restart_of_redis_between_two_checks_is_not_an_outage(redis: Redis, settings: Settings) -> None:
    """All connections are lost, and it answers on new ones."""

    async def scenario() -> None:
        async with live_worker(0) as gateway:
            check = HealthCheck()
            assert (await check.run()).status == 200
            redis.client_kill_filter(_type="normal", skipme=True)
            redis.client_kill_filter(_type="pubsub", skipme=True)
            async with asyncio.timeout(PATIENCE_SECONDS):
                for session in (check._redis, check._heartbeats):
                    await lost(session)
                are_replies_heard = False
                while (await check.run()).status != 200:  # until the replies are subscribed to again
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
