"""The order desk's reads of the database.

Each kind of read has its own threads, so none waits behind another.

Reads that usually end in a refusal are paced: one statement reads the rows of all waiting requests,
and the next statement follows after a pause. Clients that repeatedly ask for unknown orders
therefore wait, and take little processor time from clients that trade.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Collection, Hashable, Mapping
from typing import Generic, NamedTuple, TypeVar

from django.conf import settings

from base.database import DatabaseReader, Reader
from base.refusals import Refusal, Unavailable
from orders.models import Order
from orders.selectors import find_order_rows, find_order_rows_by_key

Key = TypeVar("Key", bound=Hashable)


class PacedRows(Generic[Key]):
    """Reads rows at a bounded pace.

    A statement reads at most LOOK_UP_ROWS_MAX rows. After each statement, there is a pause of
    LOOK_UP_PAUSE_SECONDS. At most LOOK_UPS_WAITING_MAX requests wait, each for at most
    DESK_READ_SECONDS_MAX. `select` returns the rows for many keys.
    """

    def __init__(self, read: Reader, select: Callable[[Collection[Key]], Mapping[Key, Order]]) -> None:
        self._read = read
        self._select = select
        self._waiting: deque[tuple[Key, asyncio.Future[Order | None]]] = deque()
        self._reading: asyncio.Task[None] | None = None

    async def __call__(self, key: Key) -> Order | None:
        """Return the row for a key, or None.

        Raises Unavailable if too many requests wait, or if the database does not answer in time.
        """
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
                await self._read_batch()
                await asyncio.sleep(settings.LOOK_UP_PAUSE_SECONDS)
        finally:
            self._reading = None

    async def _read_batch(self) -> None:
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
            with contextlib.suppress(asyncio.InvalidStateError):  # the request no longer waits
                if failure is not None:
                    found.set_exception(Unavailable(failure.message))
                else:
                    found.set_result(rows.get(key))


class DeskReads(NamedTuple):
    """The readers of an order desk. Orders and cancels use different ones."""

    orders: Reader  # reads the result of an order, or the earlier order with the same key
    replays: Reader  # reads the fills of an order that was sent again with the same key
    cancelled: Reader  # reads a cancelled order with its fills
    refused_orders: PacedRows[tuple[str, str]]  # finds an earlier order by client id and key
    refused_cancels: PacedRows[str]  # finds an order that no worker has open, by its id


def _reader(places_max: int, pause_ratio: float = 0.0) -> DatabaseReader:
    return DatabaseReader(
        threads=settings.DESK_THREADS_PER_READER,
        places_max=places_max,
        seconds_max=settings.DESK_READ_SECONDS_MAX,
        statement_seconds_max=settings.DESK_READ_SECONDS_MAX,
        pause_ratio=pause_ratio,
    )


_orders = _reader(settings.DATABASE_READS_MAX)
_replays = _reader(settings.DESK_REPLAYS_MAX, settings.DESK_REPLAY_PAUSE_RATIO)
_cancelled = _reader(settings.DATABASE_READS_MAX)
_refused_orders = _reader(2)
_refused_cancels = _reader(2)

READERS = (_orders, _replays, _cancelled, _refused_orders, _refused_cancels)


def desk_reads() -> DeskReads:
    """Return the readers of one event loop's desk. Their threads are shared by all loops."""
    return DeskReads(
        orders=_orders,
        replays=_replays,
        cancelled=_cancelled,
        refused_orders=PacedRows(_refused_orders, find_order_rows_by_key),
        refused_cancels=PacedRows(_refused_cancels, find_order_rows),
    )
