"""Connections to Redis. None repeats a command by itself: a repeated append would be a second order."""

from django.conf import settings
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff


def connect_redis() -> Redis:
    """A client of REDIS_URL for the running event loop, with REDIS_CONNECTIONS_MAX at most.

    Calls raise RedisError after REDIS_TIMEOUT_SECONDS, and at once where no connection is free.
    """
    return Redis.from_url(
        settings.REDIS_URL,
        max_connections=settings.REDIS_CONNECTIONS_MAX,
        socket_timeout=settings.REDIS_TIMEOUT_SECONDS,
        socket_connect_timeout=settings.REDIS_TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )
