"""What an attack works with: the target, the time at which it ends, and what was prepared for it."""

import asyncio
from collections import Counter
from typing import Any

from loadtools.wire import Target

CONNECT_SECONDS_MAX = 5.0
ANSWER_SECONDS_MAX = 30.0
RECONNECT_SECONDS = 0.02  # pause before a connection that was refused or cut off is tried again
READ_BYTES = 256 * 1024


class Stage:
    """One attack's view of the exchange. `scale` from 0 to 1 makes it smaller; `counts` tell what happened."""

    def __init__(self, target: Target, *, seconds: float, scale: float, facts: dict[str, Any]) -> None:
        self.target = target
        self.facts = facts
        self.counts: Counter[str] = Counter()
        self._scale = scale
        self._ends_at = asyncio.get_running_loop().time() + seconds

    def scaled(self, count: int) -> int:
        """So many of what a full attack has `count` of; at least one."""
        return max(1, round(count * self._scale))

    @property
    def over(self) -> bool:
        return asyncio.get_running_loop().time() >= self._ends_at

    @property
    def seconds_left(self) -> float:
        return max(0.0, self._ends_at - asyncio.get_running_loop().time())

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A new connection. Raises OSError, TimeoutError."""
        self.counts["connections"] += 1
        async with asyncio.timeout(CONNECT_SECONDS_MAX):
            # A small limit: a reader that nobody reads stops the transport soon.
            return await asyncio.open_connection(self.target.host, self.target.port, limit=16 * 1024)
