"""Keeps a worker's lease: acquires it, renews it in time, and commits under it.

Times here are the event loop's. The database alone decides which worker holds the lease: see
matching/commit/checkpoint.py.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from django.conf import settings
from django.db import InterfaceError, OperationalError

from base.loops import loop_seconds
from base.outages import Outage
from matching.batch.batch import Batch
from matching.commit.checkpoint import Lease, LeaseLost
from matching.commit.statement import CommitResult
from matching.worker.partition_store import PartitionStore


class LeaseKeeper:
    """One partition's lease, for one worker.

    Methods that use the database raise the errors that the store raises.
    """

    def __init__(self, partition: int, *, owner: str, store: PartitionStore, outage: Outage) -> None:
        self.partition = partition
        self.owner = owner
        self._store = store
        self._outage = outage  # of the database
        self._lease: Lease | None = None
        self._renewed_at = 0.0  # loop time at which the last renewing statement began

    @property
    def held(self) -> Lease:
        """The lease, as far as the worker knows. Raises LeaseLost if none was acquired yet."""
        if self._lease is None:
            raise LeaseLost(f"partition={self.partition}: no lease was acquired yet")
        return self._lease

    async def acquire(self) -> bool:
        """Take the lease with a new epoch; returns False while another worker holds it."""
        lease = await self._store.acquire(self.owner)
        if lease is None:
            return False
        self._lease = lease
        return True

    async def commit(self, batch: Batch, position: str) -> CommitResult:
        """Commit a batch with the position after it. This also renews the lease.

        The lease counts from the beginning of the statement, so after a long statement the lease is
        renewed once more. Raises KeysTaken and LeaseLost.
        """
        began = loop_seconds()
        self._lease, result = await self._store.commit(batch, self.held, position)
        self._renewed_at = began
        if loop_seconds() - began > settings.WORKER_HEARTBEAT_SECONDS:
            await self.renew()
        return result

    async def renew(self) -> None:
        """Renew the lease. Raises LeaseLost."""
        began = loop_seconds()
        self._lease = await self._store.renew(self.held)
        self._renewed_at = began

    async def renew_if_due(self) -> None:
        """Renew the lease if it is older than half a heartbeat interval. Raises LeaseLost.

        If this is called at each heartbeat, a lease is at most one and a half intervals old.
        """
        if loop_seconds() - self._renewed_at > settings.WORKER_HEARTBEAT_SECONDS / 2:
            await self.renew()

    @contextlib.asynccontextmanager
    async def renewing(self) -> AsyncIterator[None]:
        """Renew the lease in the background, on another connection, during a long operation."""

        async def renew_forever() -> None:
            while True:
                await asyncio.sleep(settings.WORKER_HEARTBEAT_SECONDS)
                try:
                    await self._store.renew_on_second_connection(self.held)
                except (OperationalError, InterfaceError) as error:
                    self._outage.failed(error)

        renewing = asyncio.create_task(renew_forever())
        try:
            yield
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)

    async def release(self) -> None:
        """End a held lease now, so that a standby worker need not wait until it expires."""
        if self._lease is not None:
            await self._store.release(self._lease)
