"""Shares one result among requests that arrive at about the same time.

A SharedResult may be older than the request. A FreshResult never is.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from base.loops import ignore_error

Result = TypeVar("Result")


class SharedResult(Generic[Result]):
    """Runs `make` once at a time, and returns its result to all requests for `seconds`.

    Requests that arrive while `make` runs wait for it, so the work does not grow with the number of
    requests. Use it from one event loop.
    """

    def __init__(self, make: Callable[[], Awaitable[Result]], seconds: float) -> None:
        self._make = make
        self._seconds = seconds
        # The latest result, and the time.monotonic() at which it expires.
        self._made: tuple[Result, float] | None = None
        self._making: asyncio.Task[Result] | None = None

    async def get(self) -> Result:
        """Return a shared or new result.

        Raises whatever `make` raises, to all requests that wait for it. The next request tries
        again.
        """
        if self._making is None:
            made = self._made
            if made is not None and time.monotonic() < made[1]:
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


class FreshResult(Generic[Result]):
    """Gives each request a result that was made after the request arrived.

    So clients see the effects of their own earlier requests. `make` runs once at a time. Then it
    pauses for `pause_ratio` times as long as it took, at most for `pause_seconds_max`. All requests
    that arrive until the pause ends share the next result, so the work does not grow with the
    number of requests. If `make` fails, the requests that wait for the next result fail, too: they
    do not wait for the same failure a second time. Use it from one event loop.
    """

    def __init__(
        self, make: Callable[[], Awaitable[Result]], *, pause_ratio: float, pause_seconds_max: float
    ) -> None:
        self._make = make
        self._pause_ratio = pause_ratio
        self._pause_seconds_max = pause_seconds_max
        self._next: asyncio.Future[Result] | None = None  # the result that new requests wait for
        self._making: asyncio.Task[None] | None = None
        self._pause_ends_at = 0.0  # a time of the monotonic clock

    async def get(self) -> Result:
        """Return the next result.

        Raises whatever `make` raises, to all requests that wait.
        """
        if self._next is None:
            self._next = asyncio.get_running_loop().create_future()
            self._next.add_done_callback(ignore_error)
            if self._making is None:
                self._making = asyncio.create_task(self._make_results())
        # The shield keeps a cancelled request from cancelling the result of other requests.
        return await asyncio.shield(self._next)

    async def _make_results(self) -> None:
        """Make results while requests wait for them."""
        try:
            while self._next is not None:
                await asyncio.sleep(self._pause_ends_at - time.monotonic())
                result, self._next = self._next, None
                began_at = time.monotonic()
                try:
                    result.set_result(await self._make())
                except Exception as error:
                    failed, self._next = (result, self._next), None
                    for each in failed:
                        if each is not None:
                            each.set_exception(error)
                now = time.monotonic()
                pause_seconds = min(self._pause_ratio * (now - began_at), self._pause_seconds_max)
                self._pause_ends_at = now + pause_seconds
        finally:
            self._making = None
