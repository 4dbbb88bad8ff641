"""The main loop of the matching worker: own the partition, run commands, send heartbeats.

The worker owns the partition while it holds the lease. The database is the authority: if the worker
is not sure what was committed, it drops its books and loads them from the database again.
"""

import asyncio
import contextlib
import logging
import uuid
from typing import Self

from channels.layers import get_channel_layer
from django.conf import settings
from django.db import InterfaceError, OperationalError
from redis.exceptions import RedisError

from base.loops import loop_seconds
from base.outages import Outage
from base.redis import RedisSession, connect_redis
from matching.commit.checkpoint import LeaseLost
from matching.publish.publisher import Publisher
from matching.worker.batch_runner import BatchRunner
from matching.worker.command_stream import CommandStream, Entry
from matching.worker.committer import Committer
from matching.worker.counting import BatchCounter
from matching.worker.lease_keeper import LeaseKeeper
from matching.worker.life_watch import LifeWatch
from matching.worker.live_books import LiveBooks
from matching.worker.outages import OUTAGES
from matching.worker.partition_store import PartitionStore

logger = logging.getLogger(__name__)


class MatchingWorker:
    """Runs until `stop` is called; then it finishes the current batch and releases the lease.

    tests/simulation replaces methods of the public attributes, to switch protections off.
    """

    def __init__(
        self,
        partition: int,
        *,
        owner: str,
        store: PartitionStore,
        stream: CommandStream,
        publisher: Publisher,
        life_watch: LifeWatch,
    ) -> None:
        self.partition = partition
        self.owner = owner
        self._database_outage = Outage(logger, f"partition {partition}: the database")
        self._redis_outage = Outage(logger, f"partition {partition}: Redis")
        self._store = store
        self.stream = stream
        self.publisher = publisher
        self._life_watch = life_watch
        self.lease = LeaseKeeper(partition, owner=owner, store=store, outage=self._database_outage)
        self.books = LiveBooks(
            partition, store=store, lease=self.lease, publisher=publisher, outage=self._database_outage
        )
        self._counter = BatchCounter(partition)
        self.runner = BatchRunner(
            books=self.books,
            committer=Committer(store, self.lease),
            lease=self.lease,
            stream=stream,
            publisher=publisher,
            counter=self._counter,
        )
        self._stopping = asyncio.Event()
        self._arrived: list[Entry] = []  # entries read with the last publication
        self._heartbeat_due = 0.0  # loop time
        self._backoff_seconds = settings.WORKER_BACKOFF_SECONDS_MIN

    @classmethod
    def connect(cls, partition: int) -> Self:
        """Return a worker that uses the configured database and Redis."""
        owner = uuid.uuid4().hex
        redis = connect_redis()
        stream = CommandStream(redis, RedisSession(redis), partition)
        publisher = Publisher(
            redis, RedisSession(redis), get_channel_layer(), partition=partition, owner=owner
        )
        return cls(
            partition,
            owner=owner,
            store=PartitionStore(partition),
            stream=stream,
            publisher=publisher,
            life_watch=LifeWatch(stream.session, partition),
        )

    def stop(self) -> None:
        """Ask the worker to end. Safe in a signal handler of the event loop."""
        self._stopping.set()

    async def run(self) -> None:
        """Match until `stop` is called. Survives every loss of the database, Redis or the lease."""
        try:
            while not self._stopping.is_set():
                try:
                    if await self._wait_for_lease():
                        await self._match_as_owner()
                except OUTAGES as error:
                    await self._disconnect_and_back_off(error)
        finally:
            await self._release_and_close()

    async def _wait_for_lease(self) -> bool:
        """Acquire the lease; returns False if `stop` is called first."""
        is_standby_logged = False
        while not await self.lease.acquire():
            self._database_outage.ended()
            if not is_standby_logged:
                logger.info("partition %d: standby, another worker holds the lease", self.partition)
                is_standby_logged = True
            if await self._pause(settings.WORKER_BACKOFF_SECONDS_MIN):
                return False
        return True

    async def _match_as_owner(self) -> None:
        """Load the books, and match until `stop` is called. Raises errors that end ownership."""
        await self.runner.load_books()
        while not self._stopping.is_set():
            try:
                await self._join_stream()
                while not self._stopping.is_set():
                    await self._process_next_batch()
            except (RedisError, OSError) as error:
                # The books are right and the lease is held: only Redis is lost.
                self._redis_outage.failed(error)
                await self.lease.renew()
                await self._pause(settings.WORKER_BACKOFF_SECONDS_MIN)

    async def _join_stream(self) -> None:
        self._arrived = []
        self._life_watch.reset()
        async with self.lease.renewing():
            await self.stream.align(self.lease.held.position)
            await self.publisher.prepare(self.books.by_symbol.values(), self.lease.held.epoch)
        # Commit pending commands before the first heartbeat: a worker that can't commit must not
        # advertise itself.
        self._heartbeat_due = loop_seconds()
        await self._process_next_batch()
        self._backoff_seconds = settings.WORKER_BACKOFF_SECONDS_MIN
        self._redis_outage.ended()
        self._database_outage.ended()
        logger.info("partition %d: matching", self.partition)

    async def _process_next_batch(self) -> None:
        """Process what is due, and entries that arrive before; send the heartbeat if due."""
        entries, self._arrived = self._arrived, []
        if not entries:
            entries = await self.stream.read(
                self.lease.held.position, count=self.runner.read_max, wait_seconds=self._seconds_to_wait()
            )
        if entries:
            self._arrived = await self.runner.run(entries)
        elif (due_in := self.runner.seconds_to_due_work()) is not None and due_in <= 0:
            self._arrived = await self.runner.run_due_work()
        if loop_seconds() >= self._heartbeat_due or self.publisher.is_mirror_lost:
            await self._send_heartbeat()

    def _seconds_to_wait(self) -> float:
        """Return the time until the heartbeat or other work is due, which may be negative."""
        to_heartbeat = self._heartbeat_due - loop_seconds()
        to_due_work = self.runner.seconds_to_due_work()
        return to_heartbeat if to_due_work is None else min(to_heartbeat, to_due_work)

    async def _send_heartbeat(self) -> None:
        await self.lease.renew_if_due()
        # Redis may have been replaced without an error that the worker noticed.
        await self.stream.align(self.lease.held.position)
        # Rebuilding a large mirror may take longer than the lease lasts.
        async with self.lease.renewing():
            await self.publisher.heartbeat(self.books.by_symbol.values())
        self._counter.report_state(self.books.state)
        await self.books.reload_instruments_if_due()
        self.runner.end_guards(await self._life_watch.look(self.books.state.guards.process_ids))
        self._heartbeat_due = loop_seconds() + settings.WORKER_HEARTBEAT_SECONDS

    async def _disconnect_and_back_off(self, error: Exception) -> None:
        if isinstance(error, LeaseLost):
            logger.warning("partition %d: LeaseLost: %s", self.partition, error)
        else:
            self._database_outage.failed(error)
        await self._store.disconnect()
        await self._pause(self._backoff_seconds)
        self._backoff_seconds = min(2 * self._backoff_seconds, settings.WORKER_BACKOFF_SECONDS_MAX)

    async def _release_and_close(self) -> None:
        with contextlib.suppress(RedisError, OSError):
            await self.publisher.end_heartbeat()
        with contextlib.suppress(OperationalError, InterfaceError):
            await self.lease.release()
        await self._store.aclose()
        await self.stream.aclose()
        await self.publisher.aclose()
        logger.info("partition %d: stopped", self.partition)

    async def _pause(self, seconds: float) -> bool:
        """Wait for `seconds` or until `stop` is called; returns whether to stop."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        return self._stopping.is_set()
