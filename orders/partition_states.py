"""Reads the current state of partitions from Redis: whether a worker matches them, and its queue.

The state is read on demand, because a worker that has stopped can't report its end.
"""

from collections.abc import Iterable

import msgspec

from base.redis import RedisSession
from orders.messages import heartbeat_key, stream_key

_COMMANDS_PER_PARTITION = 3


class PartitionState(msgspec.Struct, frozen=True):
    """The current state of one partition."""

    partition: int
    is_matched: bool  # whether a worker's heartbeat exists
    queue_length: int  # commands that are not processed yet
    oldest_seconds: float  # age of the oldest of these commands, or 0


async def read_partition_states(session: RedisSession, partitions: Iterable[int]) -> list[PartitionState]:
    """Return the states of partitions, in ascending order, with one round trip.

    Ages are measured with Redis's clock.

    Raises redis.RedisError, OSError.
    """
    wanted = sorted(set(partitions))
    commands = [
        command
        for partition in wanted
        for command in (
            ("EXISTS", heartbeat_key(partition)),
            ("XLEN", stream_key(partition)),
            ("XRANGE", stream_key(partition), "-", "+", "COUNT", 1),
        )
    ]
    (seconds, microseconds), *answers = await session.run(("TIME",), *commands)
    now_milliseconds = int(seconds) * 1000 + int(microseconds) // 1000
    states = []
    for number, partition in enumerate(wanted):
        first = number * _COMMANDS_PER_PARTITION
        heartbeats, length, oldest = answers[first : first + _COMMANDS_PER_PARTITION]
        states.append(
            PartitionState(
                partition=partition,
                is_matched=bool(heartbeats),
                queue_length=length,
                oldest_seconds=_age_seconds(oldest, now_milliseconds),
            )
        )
    return states


def _age_seconds(entries: list[tuple[bytes, object]], now_milliseconds: int) -> float:
    """Return the age of the first entry, whose id begins with the time of its append, or 0."""
    if not entries:
        return 0.0
    appended_milliseconds = int(entries[0][0].split(b"-")[0])
    return max(0, now_milliseconds - appended_milliseconds) / 1000
