"""One result for all who ask at about the same time."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Result = TypeVar("Result")


class Shared(Generic[Result]):
    """Has `make` run once at a time, however many ask, and gives its result out for `seconds`.

    Requests that come while it runs wait for it. So the work does not grow with the requests. The first `fresh_max`
    requests of each such time get a new result: a client that asks now and then sees what it has just done, and
    many that ask together share. For one event loop.
    """

    def __init__(self, make: Callable[[], Awaitable[Result]], seconds: float, *, fresh_max: int = 0) -> None:
        self._make = make
        self._seconds = seconds
        self._fresh_max = fresh_max
        self._window_ends_at = 0.0
        self._asked_in_window = 0
        self._made: tuple[Result, float] | None = None  # and until when, of the monotonic clock
        self._making: asyncio.Task[Result] | None = None

    async def get(self) -> Result:
        """The result. Raises what `make` raises, to all who wait for it; the next request then tries again."""
        now = time.monotonic()
        if now >= self._window_ends_at:
            self._window_ends_at = now + self._seconds
            self._asked_in_window = 0
        self._asked_in_window += 1
        if self._making is None:
            made = self._made
            if made is not None and now < made[1] and self._asked_in_window > self._fresh_max:
                return made[0]
            self._making = asyncio.create_task(self._run())
            self._making.add_done_callback(_retrieve)
        return await asyncio.shield(self._making)  # who leaves does not end it for the others

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
