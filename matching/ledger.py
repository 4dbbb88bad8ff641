"""A partition in the database, as its worker reads and writes it.

Django's connections belong to threads: each thread here has its one connection. The second one renews the lease
while the first is busy for longer than the lease lasts. Batches are committed on the first one's connection, but on
the event loop's own thread: nothing else happens there meanwhile, and a change of threads costs a tenth of a
millisecond each way.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from django.db import InterfaceError, OperationalError, connection

from matching import checkpoint
from matching.batch import Batch, Key
from matching.checkpoint import Lease
from matching.recovery import MarketBook, load_books
from matching.settlement import Settled, Settlement
from orders.instruments import TradedInstrument, load_instruments

REPLAN_ORDERS_MIN = 500  # settled by this worker, until the statements are planned anew for the first time
REPLAN_FACTOR = 3  # times as many, until the next time

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class Ledger:
    """Every method raises django.db.OperationalError or InterfaceError where the database is not answering."""

    def __init__(self, partition: int) -> None:
        self._partition = partition
        self._orders_settled = 0
        self._plan_anew_at = REPLAN_ORDERS_MIN
        self._settlement: Settlement | None = None  # on the connection of `_settling`
        self._settling = ThreadPoolExecutor(1, thread_name_prefix="settlement")
        self._renewing = ThreadPoolExecutor(1, thread_name_prefix="lease")

    async def acquire(self, owner: str) -> Lease | None:
        """The lease, with a new epoch; None while another worker holds it."""
        return await _on(self._settling, checkpoint.acquire, self._partition, owner)

    async def load_books(self, symbols: Collection[str] | None = None) -> dict[str, MarketBook]:
        """The partition's books of these symbols, or all, as of one moment, by symbol.

        Raises ValueError if the resting orders are no book.
        """
        return await _on(self._settling, load_books, self._partition, symbols=symbols)

    async def load_instruments(self) -> dict[str, TradedInstrument]:
        """All instruments of the exchange, by symbol."""
        return await _on(self._settling, load_instruments)

    async def find_keys(self, keys: Sequence[Key]) -> dict[Key, str]:
        """The ids of the orders that have these idempotency keys already. The event loop stands still meanwhile."""
        return (await self._opened_settlement()).find_keys(keys)

    async def settle(self, batch: Batch, lease: Lease, position: str) -> tuple[Lease, Settled]:
        """Commit the batch with the position behind it. The event loop stands still meanwhile.

        Raises KeysTaken, LeaseLost where another worker owns the partition; after any other error the outcome is
        unknown.
        """
        settlement = await self._opened_settlement()
        self._plan_anew_if_due(settlement)
        advanced, settled = settlement.settle(batch, lease, position)
        self._orders_settled += len(batch.orders)
        return advanced, settled

    async def _opened_settlement(self) -> Settlement:
        if self._settlement is None:
            self._settlement = await _on(self._settling, Settlement.of_this_thread)
        return self._settlement

    def _plan_anew_if_due(self, settlement: Settlement) -> None:
        if self._orders_settled >= self._plan_anew_at:
            self._plan_anew_at = REPLAN_FACTOR * self._orders_settled
            settlement.forget_plans()

    async def renew(self, lease: Lease) -> Lease:
        """Raises LeaseLost."""
        return await _on(self._settling, checkpoint.advance, lease, lease.position)

    async def renew_beside(self, lease: Lease) -> None:
        """The same while something else is going on; on a new connection after one that broke. Raises LeaseLost."""
        try:
            await _on(self._renewing, checkpoint.advance, lease, lease.position)
        except (OperationalError, InterfaceError):
            await _on(self._renewing, _close_connection)
            raise

    async def release(self, lease: Lease) -> None:
        """End the lease now, so that a standby need not wait for its expiry."""
        await _on(self._settling, checkpoint.release, lease)

    async def disconnect(self) -> None:
        """The next call makes new connections."""
        self._settlement = None
        for thread in (self._settling, self._renewing):
            await _on(thread, _close_connection)

    async def aclose(self) -> None:
        await self.disconnect()
        for thread in (self._settling, self._renewing):
            thread.shutdown()


async def _on(
    thread: ThreadPoolExecutor,
    call: Callable[Parameters, Result],
    *args: Parameters.args,
    **kwargs: Parameters.kwargs,
) -> Result:
    return await asyncio.get_running_loop().run_in_executor(thread, lambda: call(*args, **kwargs))


def _close_connection() -> None:
    """This thread's. `connection.close` itself, looked up on the event loop, would be that thread's."""
    connection.close()
