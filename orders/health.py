"""Checks whether the exchange can process orders, for GET /healthz and the admin.

All requests within HEALTH_SHARED_SECONDS share the result of one check, and the checks use
permanent connections. Frequent requests therefore put no load on the servers.
"""

import asyncio
import time
from collections.abc import Awaitable
from datetime import UTC, datetime

import msgspec
from django.conf import settings
from django.db import ProgrammingError, connection
from redis.exceptions import RedisError

from base.database import DatabaseReader
from base.encoding import encode_json
from base.loops import per_event_loop
from base.redis import RedisSession, connect_redis
from base.refusals import Unavailable
from base.shared import SharedResult
from base.times import time_text
from instruments.directory import directory
from orders.gateway import current_gateway
from orders.partition_states import read_partition_states

OK = "ok"
NOT_ANSWERING = "not answering"

_started = time.monotonic()
# A separate reader: a check must not wait behind slow reads.
_read_database = DatabaseReader(
    threads=1,
    places_max=settings.HEALTH_CHECKS_MAX,
    seconds_max=settings.HEALTH_CHECK_TIMEOUT_SECONDS,
    statement_seconds_max=settings.HEALTH_CHECK_TIMEOUT_SECONDS,
)


class Health(msgspec.Struct, frozen=True):
    """The result of a check, and the body of the answer to GET /healthz."""

    state: str  # healthy, degraded or unhealthy
    checks: dict[str, str]  # by name: OK, or a description of the problem
    body: bytes

    @property
    def status(self) -> int:
        """The HTTP status of the answer."""
        return 503 if self.state == "unhealthy" else 200

    @property
    def problems(self) -> list[str]:
        """The descriptions of all problems, each with the name of its check."""
        return [f"{name}: {found}" for name, found in self.checks.items() if found != OK]


class PartitionCoverage(msgspec.Struct, frozen=True):
    """Partitions that have instruments: those with a worker, and those without one."""

    matched: list[int]
    unmatched: list[int]

    def __str__(self) -> str:
        if not self.unmatched:
            return OK
        several = len(self.unmatched) > 1
        names = ", ".join(map(str, self.unmatched))
        return (
            f"no worker matches {'partitions' if several else 'partition'} {names}: see"
            f" {'their logs' if several else 'its log'}, or start manage.py run_matching --partition"
            f" {self.unmatched[0]}"
        )


class CheckFailed(Exception):
    """A check failed. The message is a short description of the problem."""


class HealthCheck:
    """Checks the servers on separate connections of one event loop."""

    def __init__(self) -> None:
        redis = connect_redis()
        self._redis = RedisSession(redis)
        self._heartbeats = RedisSession(redis)  # both checks of Redis run at the same time

    async def run(self) -> Health:
        """Run all checks. Takes at most HEALTH_CHECK_TIMEOUT_SECONDS.

        The result's timestamp is the start. A worker counts as matching until its last heartbeat
        expires (WORKER_HEARTBEAT_EXPIRY_SECONDS), so it may have ended before.
        """
        began = datetime.now(UTC)
        database, redis, matching = await asyncio.gather(
            _check_result(_check_database()),
            _check_result(self._check_redis()),
            _check_result(self._check_matching()),
        )
        servers_answer = database == redis == OK
        if servers_answer and str(matching) == OK:
            state = "healthy"
        elif servers_answer and isinstance(matching, PartitionCoverage) and matching.matched:
            state = "degraded"
        else:
            state = "unhealthy"
        checks = {"database": str(database), "redis": str(redis), "matching": str(matching)}
        document = {
            "status": state,
            "timestamp": time_text(began),
            "uptime": round(time.monotonic() - _started, 3),
            "checks": checks,
        }
        return Health(state, checks, encode_json(document))

    async def _check_redis(self) -> str:
        await self._redis.run(("PING",))
        await current_gateway().ready()  # without replies, this process cannot process orders
        return OK

    async def _check_matching(self) -> PartitionCoverage:
        partitions = await active_partitions()
        if not partitions:
            raise CheckFailed("no instruments: run manage.py migrate and manage.py load_instruments")
        states = await read_partition_states(self._heartbeats, partitions)
        return PartitionCoverage(
            matched=[state.partition for state in states if state.is_matched],
            unmatched=[state.partition for state in states if not state.is_matched],
        )


async def active_partitions() -> set[int]:
    """Return the partitions that have instruments.

    Raises Unavailable if the instruments were never loaded and the database is not answering.
    """
    return {instrument.partition for instrument in (await directory.all()).values()}


async def _check_result(check: Awaitable[str | PartitionCoverage]) -> str | PartitionCoverage:
    """Return what the check returns, or a short description of the problem for the operator.

    The description contains no addresses or credentials.
    """
    try:
        async with asyncio.timeout(settings.HEALTH_CHECK_TIMEOUT_SECONDS):
            return await check
    except TimeoutError:
        return "no answer in time"
    except CheckFailed as error:
        return str(error)
    except (RedisError, OSError, Unavailable) as error:
        if isinstance(error.__cause__, ProgrammingError):
            return "its tables are missing: run manage.py migrate"
        return NOT_ANSWERING


async def _check_database() -> str:
    await _read_database(_select_one)
    return OK


def _select_one() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM instruments_instrument LIMIT 1")


@per_event_loop
def current_health() -> SharedResult[Health]:
    """Return the check that all requests on this event loop share."""
    return SharedResult(HealthCheck().run, settings.HEALTH_SHARED_SECONDS)
