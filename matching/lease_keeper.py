"""Keeps a worker's lease: acquires it, renews it in time, and commits under it.

Times are the event loop's. The database alone decides who holds the lease: see matching/checkpoint.py.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from django.conf import settings
from django.db import InterfaceError, OperationalError

from base.outages import Outage
from matching.batch import Batch
from matching.checkpoint import Lease, LeaseLost
from matching.ledger import Ledger
from matching.settlement import Settled


class LeaseKeeper:
    """One partition's lease, for one worker. Methods that ask the database raise what the ledger raises."""

    def __init__(self, partition: int, *, owner: str, ledger: Ledger, outage: Outage) -> None:
        self.partition = partition
        self.owner = owner
        self._ledger = ledger
        self._outage = outage  # of the database
        self._lease: Lease | None = None
        self._renewed_at = 0.0  # when the last statement began that renewed the lease

    @property
    def held(self) -> Lease:
        """The lease, as far as the worker knows. Raises LeaseLost if it never had one."""
        if self._lease is None:
            raise LeaseLost(f"partition={self.partition}: no lease was acquired yet")
        return self._lease

    async def acquire(self) -> bool:
        """Take the lease, with a new epoch; returns False while another worker holds it."""
        lease = await self._ledger.acquire(self.owner)
        if lease is None:
            return False
        self._lease = lease
        return True

    async def settle(self, batch: Batch, position: str) -> Settled:
        """Commit a batch with the position behind it, which renews the lease. Raises KeysTaken, LeaseLost.

        The lease counts from the statement's beginning: after one that took long it is renewed once more.
        """
        began = _now()
        self._lease, settled = await self._ledger.settle(batch, self.held, position)
        self._renewed_at = began
        if _now() - began > settings.WORKER_HEARTBEAT_SECONDS:
            await self.renew()
        return settled

    async def renew(self) -> None:
        """Raises LeaseLost."""
        began = _now()
        self._lease = await self._ledger.renew(self.held)
        self._renewed_at = began

    async def renew_if_due(self) -> None:
        """Call it at each heartbeat: then the lease is never older than one and a half. Raises LeaseLost."""
        if _now() - self._renewed_at > settings.WORKER_HEARTBEAT_SECONDS / 2:
            await self.renew()

    @contextlib.asynccontextmanager
    async def renewing(self) -> AsyncIterator[None]:
        """Keep the lease while something takes longer than it lasts; on a connection of its own."""

        async def renew_forever() -> None:
            while True:
                await asyncio.sleep(settings.WORKER_HEARTBEAT_SECONDS)
                try:
                    await self._ledger.renew_beside(self.held)
                except (OperationalError, InterfaceError) as error:
                    self._outage.failed(error)

        renewing = asyncio.create_task(renew_forever())
        try:
            yield
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)

    async def release(self) -> None:
        """Give the lease back, if there is one, so that a standby need not wait for its expiry."""
        if self._lease is not None:
            await self._ledger.release(self._lease)


def _now() -> float:
    """The event loop's clock, in seconds."""
    return asyncio.get_running_loop().time()
