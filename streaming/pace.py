"""Limits how often an action runs. Requests that come faster are merged into one run."""

import asyncio
from collections.abc import Callable


class Pace:
    """Runs `action` on request, but at least `interval_seconds` after its last run."""

    def __init__(self, interval_seconds: float, action: Callable[[], None]) -> None:
        self._interval_seconds = interval_seconds
        self._action = action
        self._ran_at = float("-inf")
        self._planned: asyncio.Handle | None = None

    def request(self) -> None:
        """Run now, or plan a run for the end of the interval."""
        if self._planned is not None:
            return
        loop = asyncio.get_running_loop()
        due = self._ran_at + self._interval_seconds
        if due <= loop.time():
            self.run()
        else:
            self._planned = loop.call_at(due, self.run)

    def run(self) -> None:
        """Run now, in place of a planned run."""
        self.stop()
        self._ran_at = asyncio.get_running_loop().time()
        self._action()

    def run_pending(self) -> None:
        """Run now if a run is planned."""
        if self._planned is not None:
            self.run()

    def stop(self) -> None:
        """Cancel a planned run."""
        if self._planned is not None:
            self._planned.cancel()
            self._planned = None
