"""The context of an attack: its target, its end, and the facts of its preparation."""

import asyncio
from collections import Counter
from typing import Any

from loadtools.wire import Target

_CONNECT_SECONDS_MAX = 5.0
RECONNECT_SECONDS = 0.02  # Pause before the next attempt of a refused or closed connection.
READ_BYTES = 256 * 1024


class Stage:
    """The context of one attack. `scale`, up to 1, is its size. `counts` has its results."""

    def __init__(self, target: Target, *, seconds: float, scale: float, facts: dict[str, Any]) -> None:
        self.target = target
        self.facts = facts
        self.counts: Counter[str] = Counter()
        self._scale = scale
        self._ends_at = asyncio.get_running_loop().time() + seconds

    def scaled(self, count: int) -> int:
        """Scale a number of the full attack. Return at least one."""
        return max(1, round(count * self._scale))

    @property
    def over(self) -> bool:
        return asyncio.get_running_loop().time() >= self._ends_at

    @property
    def seconds_left(self) -> float:
        return max(0.0, self._ends_at - asyncio.get_running_loop().time())

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a new connection. Raises OSError, TimeoutError."""
        self.counts["connections"] += 1
        async with asyncio.timeout(_CONNECT_SECONDS_MAX):
            # If nobody reads from the reader, its small limit soon pauses the transport.
            return await asyncio.open_connection(self.target.host, self.target.port, limit=16 * 1024)
