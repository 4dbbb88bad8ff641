"""How many requests an API process works on at once.

The event loop works on all that has come before it listens to Redis and to the database again. With thousands of
requests that is longer than the time limits, so that none would be answered; and readers would keep orders from
being answered. So there is room for so many orders, so many cancels and so many reads, whatever the others have
taken.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from django.conf import settings

Answer = TypeVar("Answer")

_ALWAYS_ANSWERED = ("/livez", "/livez/")
_SHARED = ("/healthz", "/healthz/", "/metrics", "/metrics/")  # one result answers many requests
_DOCUMENT = ("/docs/schema", "/docs/schema/")
_CANCELS = ("/cancel", "/cancel/")  # how their paths end


class Room:
    """Places of one kind of request: some are worked on, some more wait for their turn."""

    def __init__(self, at_once: int, waiting_max: int = 0) -> None:
        self._free = at_once + waiting_max
        self._turns = asyncio.Semaphore(at_once) if waiting_max else None

    @property
    def is_full(self) -> bool:
        return self._free == 0

    async def answer(self, work: Callable[[], Awaitable[Answer]]) -> Answer:
        """Take a place, which must be free, and work in it."""
        self._free -= 1
        try:
            if self._turns is None:
                return await work()
            async with self._turns:
                return await work()
        finally:
            self._free += 1


class Paced:
    """Requests that are never refused, because they cost little: so many are begun in each span of time.

    Without that, a crowd that asks without a pause would take the processor from orders.
    """

    def __init__(self, at_once: int, seconds: float) -> None:
        self._seconds = seconds
        self._free = asyncio.Semaphore(at_once)

    async def answer(self, work: Callable[[], Awaitable[Answer]]) -> Answer:
        """Wait for a turn, and work."""
        await self._free.acquire()
        asyncio.get_running_loop().call_later(self._seconds, self._free.release)
        return await work()


class Refusals:
    """Who is refused may be back at once: so only some are in a turn of the loop, however many there are."""

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(settings.REFUSALS_AT_ONCE)

    async def refuse(self, refusal: Callable[[], Answer]) -> Answer:
        async with self._turns:
            await asyncio.sleep(settings.REFUSAL_SECONDS)
        return refusal()


class Rooms:
    """The rooms of one API process."""

    def __init__(self) -> None:
        self._commands = Room(settings.COMMANDS_AT_ONCE_MAX)
        self._cancels = Room(settings.CANCELS_AT_ONCE_MAX)
        self._reads = Room(settings.READS_AT_ONCE_MAX, settings.READS_WAITING_MAX)
        self._shared = Paced(settings.SHARED_ANSWERS_AT_ONCE, settings.PACED_SECONDS)
        self._documents = Paced(settings.DOCUMENTS_AT_ONCE, settings.PACED_SECONDS)
        self._refusals = Refusals()

    def answer(
        self, method: str, path: str, work: Callable[[], Awaitable[Answer]], refusal: Callable[[], Answer]
    ) -> Awaitable[Answer]:
        """What `work` answers, or `refusal` where there is no room for it; then nothing was begun.

        To be awaited at once: the place is looked for now, and taken then.
        """
        if path in _ALWAYS_ANSWERED:
            return work()
        if path in _SHARED:
            return self._shared.answer(work)
        if path in _DOCUMENT:
            return self._documents.answer(work)
        room = self._room_of(method, path)
        return self._refusals.refuse(refusal) if room.is_full else room.answer(work)

    def _room_of(self, method: str, path: str) -> Room:
        if method != "POST":
            return self._reads
        return self._cancels if path.endswith(_CANCELS) else self._commands
