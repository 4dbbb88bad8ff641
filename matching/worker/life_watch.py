"""Watches for how long API processes have shown no sign of life.

Each API process with guards changes the value of a key in Redis all the time (orders/guards/). The
worker reads the values at its heartbeats. Only time between two reads that Redis answered counts,
and only up to GUARD_LOOK_SECONDS_MAX of it: while Redis is away, or the worker was busy or frozen,
no time passes. Nothing here compares clocks of two machines.
"""

import logging
from collections.abc import Collection

from django.conf import settings

from base.loops import loop_seconds
from base.redis import RedisSession
from orders.messages import life_key

logger = logging.getLogger(__name__)


class LifeWatch:
    """The API processes that have guards in one partition."""

    def __init__(self, session: RedisSession, partition: int) -> None:
        self._session = session
        self._partition = partition
        self._values: dict[str, bytes | None] = {}  # by process, at the last look
        self._silent_seconds: dict[str, float] = {}  # by process
        self._looked_at = 0.0  # loop time of the last answer

    def reset(self) -> None:
        """Let the time of all processes begin again, after an outage or a takeover."""
        self._values.clear()
        self._silent_seconds.clear()

    async def look(self, process_ids: Collection[str]) -> list[str]:
        """Return which of the processes show no sign of life for GUARD_SILENT_SECONDS_MAX.

        Raises redis.RedisError, OSError.
        """
        if not process_ids:
            self.reset()
            return []
        wanted = list(process_ids)
        passed = min(loop_seconds() - self._looked_at, settings.GUARD_LOOK_SECONDS_MAX)
        keys = [life_key(self._partition, process_id) for process_id in wanted]
        (values,) = await self._session.run(("MGET", *keys))
        self._looked_at = loop_seconds()
        silent_seconds = {}
        for process_id, value in zip(wanted, values, strict=True):
            # A value that is missing is no sign of life. Redis may have lost it.
            is_same = value is None or value == self._values.get(process_id)
            before = self._silent_seconds.get(process_id)
            silent_seconds[process_id] = before + passed if is_same and before is not None else 0.0
        self._values = {
            process_id: value or self._values.get(process_id)
            for process_id, value in zip(wanted, values, strict=True)
        }
        self._silent_seconds = silent_seconds
        return [
            process_id
            for process_id, seconds in silent_seconds.items()
            if seconds >= settings.GUARD_SILENT_SECONDS_MAX
        ]
