"""What Redis knows of the partitions at this moment: whether a worker matches them, and what waits for it.

It is asked when somebody wants to know. A worker that stands still can't tell that it does.
"""

from collections.abc import Iterable

import msgspec

from base.redis import RedisSession
from orders.messages import heartbeat_key, stream_key

_COMMANDS_PER_PARTITION = 3


class PartitionState(msgspec.Struct, frozen=True):
    """One partition."""

    partition: int
    is_matched: bool  # whether a worker has a heartbeat
    queue_length: int  # commands that are not done
    oldest_seconds: float  # since the oldest of them was taken; 0 without any


async def read_partition_states(session: RedisSession, partitions: Iterable[int]) -> list[PartitionState]:
    """In ascending order, by Redis's clock, in one round trip. Raises redis.RedisError, OSError."""
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
    """An entry's id begins with the time at which it was appended."""
    if not entries:
        return 0.0
    appended_milliseconds = int(entries[0][0].split(b"-")[0])
    return max(0, now_milliseconds - appended_milliseconds) / 1000
