"""Whether the exchange can take an order, and what is wrong if it cannot: for GET /healthz and the admin.

One check answers all who ask within HEALTH_SHARED_SECONDS, on connections that stay: asking costs the servers
nothing, however many ask.
"""

import asyncio
import time
from collections.abc import Awaitable
from datetime import UTC, datetime

import msgspec
from django.conf import settings
from django.db import ProgrammingError, connection
from redis.exceptions import RedisError

from orders.gateway import current_gateway
from orders.instruments import directory
from orders.partition_states import read_partition_states
from rest.database import DatabaseReader
from rest.encoding import encode_json
from rest.exceptions import Unavailable
from rest.loops import per_event_loop
from rest.redis import RedisSession, connect_redis
from rest.shared import Shared
from rest.times import time_text

OK = "ok"
NOT_ANSWERING = "not answering"

_started = time.monotonic()
_ask_database = DatabaseReader(  # not behind slow reads
    threads=1,
    places_max=settings.HEALTH_CHECKS_MAX,
    seconds_max=settings.HEALTH_CHECK_TIMEOUT_SECONDS,
    statement_seconds_max=settings.HEALTH_CHECK_TIMEOUT_SECONDS,
)


class Health(msgspec.Struct, frozen=True):
    """What a check has found, and the answer to GET /healthz that says so."""

    state: str  # healthy, degraded or unhealthy
    checks: dict[str, str]  # OK, or what is wrong
    body: bytes

    @property
    def status(self) -> int:
        """The answer's."""
        return 503 if self.state == "unhealthy" else 200

    @property
    def problems(self) -> list[str]:
        """What is wrong, each with the name of its check."""
        return [f"{name}: {found}" for name, found in self.checks.items() if found != OK]


class Matching(msgspec.Struct, frozen=True):
    """Which partitions with instruments have a worker, and which have none."""

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
    """The message says in a few words what is wrong."""


class HealthCheck:
    """Asks the servers, on an event loop's own connections."""

    def __init__(self) -> None:
        redis = connect_redis()
        self._redis = RedisSession(redis)
        self._heartbeats = RedisSession(redis)  # asked at the same time

    async def run(self) -> Health:
        """Takes HEALTH_CHECK_TIMEOUT_SECONDS at most."""
        database, redis, matching = await asyncio.gather(
            _outcome(_check_database()), _outcome(self._check_redis()), _outcome(self._check_matching())
        )
        servers_answer = database == redis == OK
        if servers_answer and str(matching) == OK:
            state = "healthy"
        elif servers_answer and isinstance(matching, Matching) and matching.matched:
            state = "degraded"
        else:
            state = "unhealthy"
        checks = {"database": str(database), "redis": str(redis), "matching": str(matching)}
        document = {
            "status": state,
            "timestamp": time_text(datetime.now(UTC)),
            "uptime": round(time.monotonic() - _started, 3),
            "checks": checks,
        }
        return Health(state, checks, encode_json(document))

    async def _check_redis(self) -> str:
        await self._redis.run(("PING",))
        await current_gateway().ready()  # without replies this process can take no orders
        return OK

    async def _check_matching(self) -> Matching:
        partitions = await active_partitions()
        if not partitions:
            raise CheckFailed("no instruments: run manage.py migrate and load some")
        states = await read_partition_states(self._heartbeats, partitions)
        return Matching(
            matched=[state.partition for state in states if state.is_matched],
            unmatched=[state.partition for state in states if not state.is_matched],
        )


async def active_partitions() -> set[int]:
    """Those that have instruments. Raises Unavailable if the database has never answered."""
    return {instrument.partition for instrument in (await directory.all()).values()}


async def _outcome(check: Awaitable[str | Matching]) -> str | Matching:
    """What the check returns, or in a few words for the operator what is wrong: no addresses or credentials."""
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
    await _ask_database(_select_one)
    return OK


def _select_one() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM orders_instrument LIMIT 1")


@per_event_loop
def current_health() -> Shared[Health]:
    """The health that all on this event loop share."""
    return Shared(HealthCheck().run, settings.HEALTH_SHARED_SECONDS)
