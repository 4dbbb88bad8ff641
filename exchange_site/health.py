"""GET /healthz: whether the exchange can take an order, and what is wrong where it cannot."""

import asyncio
import time
from collections.abc import Awaitable
from datetime import UTC, datetime

from django.conf import settings
from django.db import connection
from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from redis.exceptions import RedisError
from rest_framework.request import Request

from exchange_site import schema
from orders.gateway import current_gateway
from orders.instruments import directory
from orders.messages import heartbeat_key
from rest.content import JSONResponse
from rest.database import DatabaseReader
from rest.exceptions import Unavailable
from rest.redis import connect_redis
from rest.times import time_text
from rest.viewset import AsyncViewSet

_started = time.monotonic()
_ask_database = DatabaseReader(  # not behind slow reads
    threads=1,
    places_max=settings.HEALTH_CHECKS_MAX,
    seconds_max=settings.HEALTH_CHECK_TIMEOUT_SECONDS,
    statement_seconds_max=settings.HEALTH_CHECK_TIMEOUT_SECONDS,
)


class HealthViewSet(AsyncViewSet):
    """For load balancers, containers and people."""

    @extend_schema(**schema.HEALTH)
    async def list(self, request: Request) -> HttpResponse:
        """Whether database, Redis and the matching workers answer."""
        database, redis, matching = await asyncio.gather(
            _check(_check_database()), _check(_check_redis()), _check(_check_matching())
        )
        checks = {"database": database, "redis": redis, "matching": matching}
        healthy = all(state == "ok" for state in checks.values())
        return JSONResponse(
            {
                "status": "healthy" if healthy else "unhealthy",
                "timestamp": time_text(datetime.now(UTC)),
                "uptime": round(time.monotonic() - _started, 3),
                "checks": checks,
            },
            status=200 if healthy else 503,
            headers={} if healthy else {"Retry-After": str(settings.RETRY_AFTER_SECONDS)},
        )


class NotMatching(Exception):
    """A partition has no live worker."""


async def _check(check: Awaitable[None]) -> str:
    """'ok', or what is wrong in a few words for the operator; no addresses or credentials."""
    try:
        async with asyncio.timeout(settings.HEALTH_CHECK_TIMEOUT_SECONDS):
            await check
    except TimeoutError:
        return "no answer in time"
    except NotMatching as error:
        return str(error)
    except (RedisError, OSError, Unavailable):
        return "not answering"
    return "ok"


async def _check_database() -> None:
    await _ask_database(_select_one)


def _select_one() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM orders_instrument LIMIT 1")


async def _check_redis() -> None:
    async with connect_redis() as redis:
        await redis.ping()
    await current_gateway().ready()  # where this process can't hear replies it can't take orders


async def _check_matching() -> None:
    partitions = {instrument.partition for instrument in (await directory.all()).values()}
    if not partitions:
        raise NotMatching("no instruments: run manage.py migrate and load some")
    async with connect_redis() as redis:
        for partition in sorted(partitions):
            if not await redis.exists(heartbeat_key(partition)):
                raise NotMatching(
                    f"no worker matches partition {partition}: see its log, or start manage.py run_matching"
                )
