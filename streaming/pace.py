"""So much and no more often: what changes faster is told in its last state."""

import asyncio
from collections.abc import Callable


class Pace:
    """Runs `action` when it is asked for, or as soon as `interval_seconds` have passed since the last time."""

    def __init__(self, interval_seconds: float, action: Callable[[], None]) -> None:
        self._interval_seconds = interval_seconds
        self._action = action
        self._ran_at = float("-inf")
        self._planned: asyncio.Handle | None = None

    def ask(self) -> None:
        if self._planned is not None:
            return
        loop = asyncio.get_running_loop()
        due = self._ran_at + self._interval_seconds
        if due <= loop.time():
            self.run()
        else:
            self._planned = loop.call_at(due, self.run)

    def run(self) -> None:
        """Run now, and not again for what was asked for before."""
        self.stop()
        self._ran_at = asyncio.get_running_loop().time()
        self._action()

    def hurry(self) -> None:
        """Run now what was asked for and waits."""
        if self._planned is not None:
            self.run()

    def stop(self) -> None:
        """Forget what was asked for."""
        if self._planned is not None:
            self._planned.cancel()
            self._planned = None
