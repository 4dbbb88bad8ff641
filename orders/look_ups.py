"""What the desk reads of the database, each kind on threads of its own: none waits behind another.

Reads that lead to a refusal are paced: whatever is asked for meanwhile is read in one statement, and the next
statement comes a moment later. Clients that ask for orders that do not exist, again and again, wait in this queue,
and take little of the processor from those who trade.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Collection, Hashable, Mapping
from typing import Generic, NamedTuple, Protocol, TypeVar

from django.conf import settings

from base.database import DatabaseReader, Reader
from base.refusals import Refusal, Unavailable
from orders.models import Order
from orders.selectors import find_order_rows, find_order_rows_by_key

Key = TypeVar("Key", bound=Hashable)
Key_contra = TypeVar("Key_contra", bound=Hashable, contravariant=True)


class RowReader(Protocol[Key_contra]):
    """Finds an order's row by a key; None if there is none. Raises Unavailable."""

    async def __call__(self, key: Key_contra) -> Order | None: ...


class PacedRows(Generic[Key]):
    """Reads rows for those who wait: LOOK_UP_ROWS_MAX in a statement, one statement in LOOK_UP_PAUSE_SECONDS.

    At most LOOK_UPS_WAITING_MAX wait, each for at most DESK_READ_SECONDS_MAX. `select` finds the rows of many keys.
    """

    def __init__(self, read: Reader, select: Callable[[Collection[Key]], Mapping[Key, Order]]) -> None:
        self._read = read
        self._select = select
        self._waiting: deque[tuple[Key, asyncio.Future[Order | None]]] = deque()
        self._reading: asyncio.Task[None] | None = None

    async def __call__(self, key: Key) -> Order | None:
        """Raises Unavailable if too many wait, or if the database does not answer in time."""
        if len(self._waiting) >= settings.LOOK_UPS_WAITING_MAX:
            raise Unavailable("Too many orders are being looked up. Try again after Retry-After.")
        found: asyncio.Future[Order | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((key, found))
        if self._reading is None:
            self._reading = asyncio.create_task(self._read_waiting(), name="paced look-ups")
        try:
            async with asyncio.timeout(settings.DESK_READ_SECONDS_MAX):
                return await found
        except TimeoutError:
            raise Unavailable("The order was not looked up in time. Try again after Retry-After.") from None

    async def _read_waiting(self) -> None:
        try:
            while self._waiting:
                await self._read_some()
                await asyncio.sleep(settings.LOOK_UP_PAUSE_SECONDS)
        finally:
            self._reading = None

    async def _read_some(self) -> None:
        batch: list[tuple[Key, asyncio.Future[Order | None]]] = []
        while self._waiting and len(batch) < settings.LOOK_UP_ROWS_MAX:
            key, found = self._waiting.popleft()
            if not found.done():
                batch.append((key, found))
        if not batch:
            return
        rows: Mapping[Key, Order] = {}
        failure: Refusal | None = None
        try:
            rows = await self._read(self._select, {key for key, _ in batch})
        except Refusal as refusal:
            failure = refusal
        for key, found in batch:
            with contextlib.suppress(asyncio.InvalidStateError):  # nobody waits any more
                if failure is not None:
                    found.set_exception(Unavailable(failure.message))
                else:
                    found.set_result(rows.get(key))


class DeskReads(NamedTuple):
    """What a desk reads with. Orders and cancels share nothing."""

    orders: Reader  # of requests that were taken: their outcome, and the row that has their key
    replays: Reader  # the fills of orders that are sent again
    cancelled: Reader  # of cancels that were done: an order with fills
    refused_orders: RowReader[tuple[str, str]]  # by client and key, of requests that were not taken
    refused_cancels: RowReader[str]  # by id, of cancels that found no open order


def _reader(places_max: int) -> DatabaseReader:
    return DatabaseReader(
        threads=settings.DESK_THREADS_PER_READER,
        places_max=places_max,
        seconds_max=settings.DESK_READ_SECONDS_MAX,
        statement_seconds_max=settings.DESK_READ_SECONDS_MAX,
    )


_orders = _reader(settings.DATABASE_READS_MAX)
_replays = _reader(settings.DESK_REPLAYS_MAX)
_cancelled = _reader(settings.DATABASE_READS_MAX)
_refused_orders = _reader(2)
_refused_cancels = _reader(2)

READERS = (_orders, _replays, _cancelled, _refused_orders, _refused_cancels)


def desk_reads() -> DeskReads:
    """The reads of one event loop's desk, on the threads that all loops share."""
    return DeskReads(
        orders=_orders,
        replays=_replays,
        cancelled=_cancelled,
        refused_orders=PacedRows(_refused_orders, find_order_rows_by_key),
        refused_cancels=PacedRows(_refused_cancels, find_order_rows),
    )
