"""Limits on the number of requests that an API process works on at the same time.

Before the event loop reads from Redis or the database again, it handles every request that has
arrived. With thousands of requests, one turn of the loop would take longer than the time limits, so
that no request would be answered. Reads could also delay orders. Orders, cancels and reads
therefore have separate limits: one kind of request never takes the places of another.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from django.conf import settings

Answer = TypeVar("Answer")
HasLeft = Callable[[], bool]  # Whether the client of a request has closed its connection.

_ALWAYS_ANSWERED = ("/livez", "/livez/")
# One result answers many requests.
_SHARED = ("/healthz", "/metrics", "/tickers")
_DOCUMENTS = ("/docs/schema", "/docs/stream")
_CANCEL_SUFFIXES = ("/cancel", "/cancel/", "/cancel-after", "/cancel-after/")


class ConcurrencyLimit:
    """Limits one kind of request: `at_once` requests run, and `waiting_max` more may wait."""

    def __init__(self, at_once: int, waiting_max: int = 0) -> None:
        self._free = at_once + waiting_max
        self._turns = asyncio.Semaphore(at_once) if waiting_max else None

    @property
    def is_full(self) -> bool:
        return self._free == 0

    async def answer(self, work: Callable[[], Awaitable[Answer]]) -> Answer:
        """Take a place and run `work`, if necessary after a wait. The limit must not be full."""
        self._free -= 1
        try:
            if self._turns is None:
                return await work()
            async with self._turns:
                return await work()
        finally:
            self._free += 1


class StartPacer:
    """Starts at most `at_once` requests in each span of `seconds`. The other requests wait.

    It is for requests whose answers cost little, which are never refused. Without it, clients that
    repeat such requests without a pause would take processor time from orders. A request whose
    client has left meanwhile takes no turn, so a client can't fill the queue by connecting again.
    """

    def __init__(self, at_once: int, seconds: float) -> None:
        self._seconds = seconds
        self._free = asyncio.Semaphore(at_once)

    async def answer(
        self, work: Callable[[], Awaitable[Answer]], has_left: HasLeft, refusal: Callable[[], Answer]
    ) -> Answer:
        """Wait for a turn, then run `work`. Return the refusal if the client has left."""
        await self._free.acquire()
        if has_left():
            self._free.release()
            return refusal()
        asyncio.get_running_loop().call_later(self._seconds, self._free.release)
        return await work()


class DelayedRefusals:
    """Delays refusals, and sends at most REFUSALS_AT_ONCE of them at the same time.

    Refused clients may retry at once. The delay keeps their retries from filling the event loop.
    """

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(settings.REFUSALS_AT_ONCE)

    async def refuse(self, refusal: Callable[[], Answer]) -> Answer:
        """Return what `refusal` returns, after a delay of at least REFUSAL_SECONDS."""
        async with self._turns:
            await asyncio.sleep(settings.REFUSAL_SECONDS)
        return refusal()


class ApiConcurrency:
    """Selects and applies the limit for each request to the JSON API of one process."""

    def __init__(self) -> None:
        self._commands = ConcurrencyLimit(settings.COMMANDS_AT_ONCE_MAX)
        self._cancels = ConcurrencyLimit(settings.CANCELS_AT_ONCE_MAX)
        self._reads = ConcurrencyLimit(settings.READS_AT_ONCE_MAX, settings.READS_WAITING_MAX)
        # Each path has a pacer of its own, so that many requests for one do not delay the others.
        at_once = dict.fromkeys(_SHARED, settings.SHARED_ANSWERS_AT_ONCE)
        at_once |= dict.fromkeys(_DOCUMENTS, settings.DOCUMENTS_AT_ONCE)
        self._pacers = {path: StartPacer(starts, settings.PACED_SECONDS) for path, starts in at_once.items()}
        self._refusals = DelayedRefusals()

    def answer(
        self,
        method: str,
        path: str,
        work: Callable[[], Awaitable[Answer]],
        refusal: Callable[[], Answer],
        has_left: HasLeft,
    ) -> Awaitable[Answer]:
        """Run `work`, or refuse the request if its limit is full.

        Returns an awaitable of the result of `work` or `refusal`. A refused request was not
        started. Await the result at once: this call checks for a free place, but only the awaitable
        takes it.
        """
        if path in _ALWAYS_ANSWERED:
            return work()
        # A POST here is refused at once. It takes no turn, because the server does not tell whether
        # its client has left.
        pacer = None if method == "POST" else self._pacers.get(path.removesuffix("/"))
        if pacer is not None:
            return pacer.answer(work, has_left, refusal)
        limit = self._limit_for(method, path)
        return self._refusals.refuse(refusal) if limit.is_full else limit.answer(work)

    def _limit_for(self, method: str, path: str) -> ConcurrencyLimit:
        if method != "POST":
            return self._reads
        return self._cancels if path.endswith(_CANCEL_SUFFIXES) else self._commands
