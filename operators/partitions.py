"""Which partitions have a live worker, by their heartbeats in Redis; for threads, not for the event loop."""

from collections.abc import Iterable

import redis
from django.conf import settings

from marketdata.book import mirror_keys
from orders.messages import heartbeat_key

UNKNOWN = "Redis does not answer, so it is not known whether a worker matches partition {}"
UNMATCHED = "no worker matches partition {} now: start one with manage.py run_matching --partition={}"


def connect() -> redis.Redis:
    """A connection of one's own, each step of which takes REDIS_TIMEOUT_SECONDS at most."""
    return redis.Redis.from_url(
        settings.REDIS_URL,
        socket_timeout=settings.REDIS_TIMEOUT_SECONDS,
        socket_connect_timeout=settings.REDIS_TIMEOUT_SECONDS,
    )


def matched(partitions: Iterable[int]) -> set[int]:
    """Those of them that a worker matches. Raises redis.RedisError."""
    asked = sorted(set(partitions))
    with connect() as client:
        return {partition for partition in asked if client.exists(heartbeat_key(partition))}


def why_unmatched(partition: int) -> str | None:
    """Why orders of this partition would not be matched, or None if a worker is there."""
    try:
        return None if matched([partition]) else UNMATCHED.format(partition, partition)
    except (redis.RedisError, OSError):
        return UNKNOWN.format(partition)


def forget_mirror(partition: int, symbol: str) -> None:
    """Remove the copy of a book that the partition's worker no longer writes. Do nothing if Redis is away."""
    keys = mirror_keys(partition, symbol)
    try:
        with connect() as client:
            client.delete(*keys, f"{keys.sequence}:epoch")
    except (redis.RedisError, OSError):
        return
