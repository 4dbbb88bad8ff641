"""Finds the partitions that have a live worker, by heartbeats in Redis.

The functions block, so call them on a thread and not on the event loop.
"""

from collections.abc import Iterable

import redis
from django.conf import settings

from marketdata.book import mirror_keys
from orders.messages import heartbeat_key


def connect() -> redis.Redis:
    """Return a new client. It waits at most REDIS_TIMEOUT_SECONDS for each answer."""
    return redis.Redis.from_url(
        settings.REDIS_URL,
        socket_timeout=settings.REDIS_TIMEOUT_SECONDS,
        socket_connect_timeout=settings.REDIS_TIMEOUT_SECONDS,
    )


def matched(partitions: Iterable[int]) -> set[int]:
    """Return the partitions among these that a worker matches. Raises redis.RedisError."""
    asked = sorted(set(partitions))
    with connect() as client:
        return {partition for partition in asked if client.exists(heartbeat_key(partition))}


def why_unmatched(partition: int) -> str | None:
    """Return the reason why this partition's orders are not matched. None if a worker is alive."""
    try:
        if matched([partition]):
            return None
    except (redis.RedisError, OSError):
        return f"Redis does not answer, so it is not known whether a worker matches partition {partition}"
    start = f"start one with manage.py run_matching --partition={partition}"
    return f"no worker matches partition {partition} now: {start}"


def forget_mirror(partition: int, symbol: str) -> None:
    """Delete a book's mirror that the partition's worker no longer writes.

    Does nothing if Redis does not answer.
    """
    keys = mirror_keys(partition, symbol)
    try:
        with connect() as client:
            client.delete(*keys, f"{keys.sequence}:epoch")
    except (redis.RedisError, OSError):
        return
