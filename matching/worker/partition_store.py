"""A worker's access to its partition in the database.

A connection of Django belongs to a thread, so each of the two threads here has one connection. The
second thread renews the lease while the first is busy, for example with loading books. Batches are
committed on the first thread's connection, but in the event loop's thread: the loop has nothing
else to do meanwhile, and a change of threads costs a tenth of a millisecond each way.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from django.db import InterfaceError, OperationalError, connection

from instruments.directory import TradedInstrument, load_instruments
from matching.batch.batch import Batch, Key
from matching.batch.deadlines import Deadlines
from matching.batch.market_book import MarketBook, PartitionState
from matching.commit import checkpoint
from matching.commit.checkpoint import Lease
from matching.commit.session import CommitSession
from matching.commit.statement import CommitResult
from matching.recovery import load_books, load_partition

# The statements are planned again once this worker has committed this many orders.
REPLAN_ORDERS_MIN = 500
# After that, they are planned again each time that number has grown by this factor.
REPLAN_FACTOR = 3

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class PartitionStore:
    """Reads and writes one partition.

    Every method raises django.db.OperationalError or InterfaceError if the database does not
    answer.
    """

    def __init__(self, partition: int) -> None:
        self._partition = partition
        self._orders_committed = 0
        self._replan_at = REPLAN_ORDERS_MIN
        self._session: CommitSession | None = None  # on the connection of `_committing`
        self._committing = ThreadPoolExecutor(1, thread_name_prefix="commit")
        self._renewing = ThreadPoolExecutor(1, thread_name_prefix="lease")

    async def acquire(self, owner: str) -> Lease | None:
        """Take the lease, with a new epoch; returns None while another worker holds it."""
        return await _run_in(self._committing, checkpoint.acquire, self._partition, owner)

    async def load(self) -> PartitionState:
        """Return the partition's books, expiries and switches.

        Raises ValueError if the live orders are not a valid book.
        """
        return await _run_in(self._committing, load_partition, self._partition)

    async def load_books(self, symbols: Collection[str], deadlines: Deadlines) -> dict[str, MarketBook]:
        """Return the books of these symbols, as of one moment, and add their orders' expiries.

        Raises ValueError as `load` does.
        """
        return await _run_in(
            self._committing, load_books, self._partition, symbols=symbols, deadlines=deadlines
        )

    async def load_instruments(self) -> dict[str, TradedInstrument]:
        """Return all instruments of the exchange, by symbol."""
        return await _run_in(self._committing, load_instruments)

    async def find_keys(self, keys: Sequence[Key]) -> dict[Key, str]:
        """Return the ids of the orders that have these idempotency keys already.

        Blocks the event loop.
        """
        return (await self._opened_session()).find_keys(keys)

    async def commit(self, batch: Batch, lease: Lease, position: str) -> tuple[Lease, CommitResult]:
        """Commit the batch with the position after it. Blocks the event loop.

        Raises KeysTaken, and LeaseLost if another worker owns the partition. After any other error
        it is not known whether the batch was committed.
        """
        session = await self._opened_session()
        self._replan_if_due(session)
        advanced, result = session.commit(batch, lease, position)
        self._orders_committed += len(batch.orders)
        return advanced, result

    async def _opened_session(self) -> CommitSession:
        if self._session is None:
            self._session = await _run_in(self._committing, CommitSession.of_this_thread)
        return self._session

    def _replan_if_due(self, session: CommitSession) -> None:
        if self._orders_committed >= self._replan_at:
            self._replan_at = REPLAN_FACTOR * self._orders_committed
            session.forget_plans()

    async def renew(self, lease: Lease) -> Lease:
        """Renew the lease. Raises LeaseLost."""
        return await _run_in(self._committing, checkpoint.advance, lease, lease.position)

    async def renew_on_second_connection(self, lease: Lease) -> None:
        """Renew the lease on the second connection. If it is broken, the next call opens a new one.

        Raises LeaseLost.
        """
        try:
            await _run_in(self._renewing, checkpoint.advance, lease, lease.position)
        except (OperationalError, InterfaceError):
            await _run_in(self._renewing, _close_connection)
            raise

    async def release(self, lease: Lease) -> None:
        """End the lease now, so that a standby worker need not wait until it expires."""
        await _run_in(self._committing, checkpoint.release, lease)

    async def disconnect(self) -> None:
        """Close both connections. The next call opens new ones."""
        self._session = None
        for thread in (self._committing, self._renewing):
            await _run_in(thread, _close_connection)

    async def aclose(self) -> None:
        await self.disconnect()
        for thread in (self._committing, self._renewing):
            thread.shutdown()


async def _run_in(
    thread: ThreadPoolExecutor,
    call: Callable[Parameters, Result],
    *args: Parameters.args,
    **kwargs: Parameters.kwargs,
) -> Result:
    return await asyncio.get_running_loop().run_in_executor(thread, lambda: call(*args, **kwargs))


def _close_connection() -> None:
    """Close the calling thread's connection.

    `connection.close` must be looked up in that thread: Django's `connection` depends on the
    thread.
    """
    connection.close()
