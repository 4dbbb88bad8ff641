"""One result for all who ask at about the same time."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Result = TypeVar("Result")


class Shared(Generic[Result]):
    """Has `make` run once at a time, however many ask, and gives its result out for `seconds`.

    Requests that come while it runs wait for it. So the work does not grow with the requests. `burst_max` requests
    get a new result before that time is over, and one more for each `seconds` without: a client that asks now and
    then sees what it has just done. For one event loop.
    """

    def __init__(self, make: Callable[[], Awaitable[Result]], seconds: float, *, burst_max: int = 0) -> None:
        self._make = make
        self._seconds = seconds
        self._burst_max = burst_max
        self._burst_left = float(burst_max)
        self._burst_counted_at = time.monotonic()
        self._made: tuple[Result, float] | None = None  # and until when, of the monotonic clock
        self._making: asyncio.Task[Result] | None = None

    async def get(self) -> Result:
        """The result. Raises what `make` raises, to all who wait for it; the next request then tries again."""
        if self._making is None:
            made = self._made
            if made is not None and time.monotonic() < made[1] and not self._take_early():
                return made[0]
            self._making = asyncio.create_task(self._run())
            self._making.add_done_callback(_retrieve)
        return await asyncio.shield(self._making)  # who leaves does not end it for the others

    def _take_early(self) -> bool:
        """Whether a new result may be made although the last one is not old."""
        if not self._burst_max:
            return False
        now = time.monotonic()
        gained = (now - self._burst_counted_at) / self._seconds
        self._burst_left, self._burst_counted_at = min(self._burst_left + gained, self._burst_max), now
        if self._burst_left < 1:
            return False
        self._burst_left -= 1
        return True

    async def _run(self) -> Result:
        try:
            result = await self._make()
        finally:
            self._making = None
        self._made = result, time.monotonic() + self._seconds
        return result


def _retrieve(making: asyncio.Task[Result]) -> None:
    """An error that nobody waits for any more is not news."""
    if not making.cancelled():
        making.exception()
