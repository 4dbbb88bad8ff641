"""Shares one result among requests that arrive at about the same time."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from base.loops import ignore_error

Result = TypeVar("Result")


class SharedResult(Generic[Result]):
    """Runs `make` once at a time, and returns its result to all requests for `seconds`.

    Requests that arrive while `make` runs wait for it, so the work does not grow with the number of
    requests. The first `fresh_max` requests in each span of `seconds` get a new result, so that a
    client with few requests sees the effects of its own actions. Many simultaneous clients share a
    result. Use it from one event loop.
    """

    def __init__(self, make: Callable[[], Awaitable[Result]], seconds: float, *, fresh_max: int = 0) -> None:
        self._make = make
        self._seconds = seconds
        self._fresh_max = fresh_max
        self._window_ends_at = 0.0
        self._asked_in_window = 0
        # The latest result, and the time.monotonic() at which it expires.
        self._made: tuple[Result, float] | None = None
        self._making: asyncio.Task[Result] | None = None

    async def get(self) -> Result:
        """Return a shared or new result.

        Raises whatever `make` raises, to all requests that wait for it. The next request tries
        again.
        """
        now = time.monotonic()
        if now >= self._window_ends_at:
            self._window_ends_at = now + self._seconds
            self._asked_in_window = 0
        self._asked_in_window += 1
        if self._making is None:
            made = self._made
            if made is not None and now < made[1] and self._asked_in_window > self._fresh_max:
                return made[0]
            self._making = asyncio.create_task(self._make_result())
            self._making.add_done_callback(ignore_error)
        # The shield keeps a cancelled request from cancelling the work for other requests.
        return await asyncio.shield(self._making)

    async def _make_result(self) -> Result:
        try:
            result = await self._make()
        finally:
            self._making = None
        self._made = result, time.monotonic() + self._seconds
        return result
