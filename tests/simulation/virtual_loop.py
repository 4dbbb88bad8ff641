"""An event loop whose time passes at once: it jumps to the next timer when no task is ready."""

import asyncio
import selectors
from collections.abc import Mapping
from typing import Any


class Deadlock(Exception):
    """Every task waits, and no timer will wake one."""


class _Jump(selectors.BaseSelector):
    """Where other loops wait for files, this one moves the clock."""

    def __init__(self, loop: "VirtualLoop") -> None:
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Deadlock
        self._loop.now += timeout
        return []

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        raise NotImplementedError

    unregister = register  # type: ignore[assignment]

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return {}


class VirtualLoop(asyncio.BaseEventLoop):
    """Deterministic: tasks run in the order in which they became ready, timers in the order of their times."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self._selector = _Jump(self)

    def time(self) -> float:
        """Seconds since the loop was made."""
        return self.now

    def _process_events(self, event_list: list[Any]) -> None:
        """There are none."""
