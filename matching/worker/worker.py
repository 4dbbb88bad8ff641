"""The matching worker of one partition: read, match, commit, publish.

The worker owns the partition while it holds the lease. The database is the authority: if the worker
is not sure what was committed, it drops its books and loads them from the database again. A batch
that fails is run again one command at a time. A command that fails alone is answered as failed.
"""

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple, Self

import msgspec
from channels.layers import get_channel_layer
from django.conf import settings
from django.db import InterfaceError, OperationalError
from redis.exceptions import RedisError

from base.outages import Outage
from base.redis import RedisSession, connect_redis
from matching.batch.batch import Batch, Key, keys_of
from matching.batch.market_book import MarketBook
from matching.commit.checkpoint import LeaseLost
from matching.commit.session import KeysTaken, Settled
from matching.publish import documents
from matching.publish.publisher import CommittedBatch, Publisher
from matching.worker import metrics
from matching.worker.command_stream import CommandStream, Entry
from matching.worker.counting import BatchCounter
from matching.worker.lease_keeper import LeaseKeeper
from matching.worker.partition_store import Ledger
from orders import messages

logger = logging.getLogger(__name__)

# Attempts to commit a batch. Each may fail because another partition took an idempotency key.
ATTEMPTS_MAX = 8

# Takes the order ids of known idempotency keys. Runs the commands through the books and returns the
# batch and the stream position after its last command.
Match = Callable[[dict[Key, str]], tuple[Batch, str]]

OUTAGES = (OperationalError, InterfaceError, LeaseLost, RedisError, OSError)
# SQLSTATEs of batches that are too large for PostgreSQL, which are no outage: 57014 query_canceled
# (the statement took too long) and class 54 program_limit_exceeded. The batch would fail again as a
# whole, but its commands may succeed one at a time.
TOO_LARGE_SQLSTATES = ("57014", "54")


class StreamedCommand(NamedTuple):
    """A command and its stream position: the id of its entry."""

    command: messages.Command
    position: str


class MatchingWorker:
    """Runs until `stop` is called; then it finishes the current batch and releases the lease."""

    def __init__(
        self, partition: int, *, owner: str, ledger: Ledger, stream: CommandStream, publisher: Publisher
    ) -> None:
        self.partition = partition
        self.owner = owner
        self._database_outage = Outage(logger, f"partition {partition}: the database")
        self._redis_outage = Outage(logger, f"partition {partition}: Redis")
        self._ledger = ledger
        self._lease = LeaseKeeper(partition, owner=owner, ledger=ledger, outage=self._database_outage)
        self._stream = stream
        self._publisher = publisher
        self._stopping = asyncio.Event()
        self._books: dict[str, MarketBook] = {}
        self._suspects_left = 0  # commands of a failed batch that are still to be run one at a time
        self._look_up_until = 0.0  # loop time until which keys are looked up before matching
        self._arrived: list[Entry] = []  # read when the last batch was published, not yet processed
        self._last_now = datetime.min.replace(tzinfo=UTC)  # the time of the last batch
        self._heartbeat_due = 0.0
        self._instruments_due = 0.0
        self._backoff_seconds = settings.WORKER_BACKOFF_SECONDS_MIN
        self._counter = BatchCounter(partition)

    @classmethod
    def connect(cls, partition: int) -> Self:
        """Return a worker that uses the configured database and Redis."""
        owner = uuid.uuid4().hex
        redis = connect_redis()
        stream = CommandStream(redis, RedisSession(redis), partition)
        publisher = Publisher(
            redis, RedisSession(redis), stream, get_channel_layer(), partition=partition, owner=owner
        )
        return cls(partition, owner=owner, ledger=Ledger(partition), stream=stream, publisher=publisher)

    def stop(self) -> None:
        """Ask the worker to end. Safe in a signal handler of the event loop."""
        self._stopping.set()

    async def run(self) -> None:
        """Match until `stop` is called. Survives every loss of the database, Redis or the lease."""
        try:
            while not self._stopping.is_set():
                try:
                    await self._acquire_lease_and_match()
                except OUTAGES as error:
                    if isinstance(error, LeaseLost):
                        logger.warning("partition %d: LeaseLost: %s", self.partition, error)
                    else:
                        self._database_outage.failed(error)
                    await self._ledger.disconnect()
                    await self._pause(self._backoff_seconds)
                    self._backoff_seconds = min(
                        2 * self._backoff_seconds, settings.WORKER_BACKOFF_SECONDS_MAX
                    )
        finally:
            await self._release_and_close()

    async def _acquire_lease_and_match(self) -> None:
        """Wait for the lease, then match until `stop` is called.

        Raises errors that end ownership.
        """
        is_standby_logged = False
        while not await self._lease.acquire():
            self._database_outage.ended()
            if not is_standby_logged:
                logger.info("partition %d: standby, another worker holds the lease", self.partition)
                is_standby_logged = True
            if await self._pause(settings.WORKER_BACKOFF_SECONDS_MIN):
                return
        await self._load_books()
        while not self._stopping.is_set():
            try:
                await self._join_stream()
                while not self._stopping.is_set():
                    await self._process_next_batch()
            except (RedisError, OSError) as error:
                # The books are right and the lease is held: only Redis is lost.
                self._redis_outage.failed(error)
                await self._lease.renew()
                await self._pause(settings.WORKER_BACKOFF_SECONDS_MIN)

    async def _load_books(self) -> None:
        started = time.perf_counter()
        async with self._lease.renewing():
            self._books = await self._ledger.load_books()
        self._database_outage.ended()
        # Clients may repeat orders that were not answered, and a batch that failed because a key
        # was taken must not fail for that key again. So look keys up first for a while.
        self._look_up_until = _monotonic() + settings.WORKER_LOOK_UP_SECONDS
        logger.info(
            "partition %d: epoch %d, position %s, %d orders in %d books loaded in %.2f s",
            self.partition,
            self._lease.held.epoch,
            self._lease.held.position,
            sum(len(market.book) for market in self._books.values()),
            len(self._books),
            time.perf_counter() - started,
        )

    async def _join_stream(self) -> None:
        self._arrived = []
        async with self._lease.renewing():
            await self._stream.align(self._lease.held.position)
            await self._publisher.prepare(self._books.values(), self._lease.held.epoch)
        # Commit pending commands before the first heartbeat: a worker that can't commit must not
        # advertise itself.
        self._heartbeat_due = _monotonic()
        await self._process_next_batch()
        self._backoff_seconds = settings.WORKER_BACKOFF_SECONDS_MIN
        self._redis_outage.ended()
        self._database_outage.ended()
        logger.info("partition %d: matching", self.partition)

    async def _process_next_batch(self) -> None:
        """Process a batch, if one arrives before the next heartbeat; send the heartbeat if due."""
        entries, self._arrived = self._arrived, []
        if not entries:
            wait_seconds = self._heartbeat_due - _monotonic()
            entries = await self._stream.read(
                self._lease.held.position, count=self._read_max, wait_seconds=wait_seconds
            )
        if entries:
            await self._process_entries(entries)
        if _monotonic() >= self._heartbeat_due or self._publisher.is_mirror_lost:
            await self._send_heartbeat()

    async def _process_entries(self, entries: list[Entry]) -> None:
        """Run the entries as a batch. If it fails, reload the books and isolate the bad command."""
        commands, position = await self._decode_commands(entries)
        position_before = self._lease.held.position
        try:
            await self._run_batch(commands, position)
            self._suspects_left = max(0, self._suspects_left - len(entries))
        except Exception as error:
            if _is_outage(error):
                raise
            logger.exception("a batch of %d commands failed: %s", len(commands), commands[:1])
            await self._load_books()
            if self._lease.held.position != position_before:
                return  # The batch was committed. API processes find its results in the database.
            if len(commands) > 1:
                self._suspects_left = len(entries)
                return
            self._suspects_left = max(0, self._suspects_left - 1)
            await self._fail_commands(commands, position)

    async def _decode_commands(self, entries: list[Entry]) -> tuple[list[StreamedCommand], str]:
        """Return the commands of one batch, and the position from which it starts.

        Invalid entries at the beginning become dead letters. An invalid entry after a command ends
        the batch. So the batch's position is never before a dead letter, even if only a part of the
        commands is run.
        """
        commands: list[StreamedCommand] = []
        position = self._lease.held.position
        for entry in entries:
            try:
                if entry.payload is None:
                    raise msgspec.DecodeError("no command field")
                command = messages.decode_command(entry.payload)
            except msgspec.DecodeError as error:
                if commands:
                    break
                logger.error("stream entry %s set aside: %s", entry.entry_id, error)
                metrics.dead_letters.inc()
                await self._stream.set_aside(entry, str(error))
                position = entry.entry_id
                continue
            commands.append(StreamedCommand(command, entry.entry_id))
            if isinstance(command, messages.ReloadInstruments | messages.InspectBooks):
                # The command after a reload must see the changed instruments. An inspection must
                # show committed books.
                break
        return commands, position

    async def _run_batch(self, commands: list[StreamedCommand], position: str) -> None:
        """Run commands until the batch is full. The rest stays in the stream and is read again."""

        def match(known_keys: dict[Key, str]) -> tuple[Batch, str]:
            batch, reached = Batch(self._books, known_keys, self._now()), position
            for command, reached in commands:  # noqa: B007 - the last position is returned
                batch.run(command)
                if batch.is_full:
                    break
            return batch, reached

        batch = await self._commit_and_publish(keys_of([command for command, _ in commands]), match)
        if batch.instruments_changed:
            await self._reload_instruments()

    async def _fail_commands(self, commands: list[StreamedCommand], position: str) -> None:
        """Answer commands as failed, and commit the position after them.

        There is at most one command, and no command if all entries were dead letters.
        """
        metrics.failed.inc(len(commands))

        def match(known_keys: dict[Key, str]) -> tuple[Batch, str]:
            batch, reached = Batch(self._books, known_keys, self._now()), position
            for command, reached in commands:  # noqa: B007
                batch.fail(command, "It could not be processed and was not taken; nothing was changed.")
            return batch, reached

        await self._commit_and_publish([], match)

    async def _commit_and_publish(self, keys: list[Key], match: Match) -> Batch:
        started = _monotonic()
        batch, settled, position = await self._match_and_commit(keys, match)
        metrics.commit_seconds.observe(_monotonic() - started)
        await self._publish_batch(batch, settled, position)
        return batch

    async def _match_and_commit(self, keys: list[Key], match: Match) -> tuple[Batch, Settled, str]:
        """Match and commit a batch.

        Returns it, its rows in the database, and the position after it. Most idempotency keys are
        new, so they are looked up only after the database refused one.
        """
        known_keys: dict[Key, str] = {}
        if _monotonic() < self._look_up_until:
            known_keys = await self._find_keys(keys)
        for _ in range(ATTEMPTS_MAX):
            batch, position = match(dict(known_keys))
            try:
                return batch, await self._lease.settle(batch, position), position
            except KeysTaken:
                metrics.undone.inc()
                batch.undo()
            # Another partition may take more of the keys before the next attempt.
            known_keys = await self._find_keys(keys)
        raise RuntimeError(f"the database has refused keys of a batch {ATTEMPTS_MAX} times")

    async def _find_keys(self, keys: list[Key]) -> dict[Key, str]:
        """Return the order ids of the known keys among these.

        Clients that repeat one key mostly repeat more. So once a key is found, the keys of the
        next WORKER_LOOK_UP_SECONDS are looked up before matching.
        """
        known_keys = await self._ledger.find_keys(keys)
        if known_keys:
            self._look_up_until = _monotonic() + settings.WORKER_LOOK_UP_SECONDS
        return known_keys

    async def _publish_batch(self, batch: Batch, settled: Settled, position: str) -> None:
        self._counter.count(batch)
        orders = documents.order_documents(batch)
        replies, market_batches = (
            documents.replies(batch, orders, settled),
            documents.market_batches(settled, batch, orders),
        )
        self._arrived = await self._publisher.publish(
            CommittedBatch(batch, replies, market_batches), done=position, read_max=self._read_max
        )

    async def _send_heartbeat(self) -> None:
        await self._lease.renew_if_due()
        # Redis may have been replaced without an error that the worker noticed.
        await self._stream.align(self._lease.held.position)
        # Rebuilding a large mirror may take longer than the lease lasts.
        async with self._lease.renewing():
            await self._publisher.heartbeat(self._books.values())
        self._counter.report_resting_orders(self._books)
        if _monotonic() >= self._instruments_due:
            await self._reload_instruments()
        self._heartbeat_due = _monotonic() + settings.WORKER_HEARTBEAT_SECONDS

    async def _reload_instruments(self) -> None:
        """Apply changed instruments, load added books, and drop books that left the partition."""
        instruments = {
            symbol: instrument
            for symbol, instrument in (await self._ledger.load_instruments()).items()
            if instrument.partition == self.partition
        }
        for symbol in self._books.keys() - instruments.keys():
            logger.info("partition %d: %s has left this partition", self.partition, symbol)
            del self._books[symbol]
        added = instruments.keys() - self._books.keys()
        if added:  # new instruments, or instruments that moved here with their resting orders
            async with self._lease.renewing():
                books = await self._ledger.load_books(added)
                self._books.update(books)
                await self._publisher.prepare(books.values(), self._lease.held.epoch)
        for symbol, market in self._books.items():
            market.instrument = instruments.get(symbol, market.instrument)
        self._instruments_due = _monotonic() + settings.INSTRUMENT_CACHE_SECONDS

    async def _release_and_close(self) -> None:
        with contextlib.suppress(RedisError, OSError):
            await self._publisher.end_heartbeat()
        with contextlib.suppress(OperationalError, InterfaceError):
            await self._lease.release()
        await self._ledger.aclose()
        await self._publisher.aclose()
        logger.info("partition %d: stopped", self.partition)

    @property
    def books(self) -> dict[str, MarketBook]:
        """The books in memory, by symbol. They are valid only while the lease is held."""
        return self._books

    @property
    def _read_max(self) -> int:
        """The largest number of commands in the next batch."""
        return 1 if self._suspects_left else settings.WORKER_BATCH_COMMANDS_MAX

    def _now(self) -> datetime:
        """Return the batch's time.

        It never goes back, unless the clock was set back by more than WORKER_CLOCK_STEP_SECONDS.
        """
        now = datetime.now(UTC)
        back = (self._last_now - now).total_seconds()
        if back > settings.WORKER_CLOCK_STEP_SECONDS:
            logger.warning(
                "partition %d: the clock went back by %.1f s, and so do new timestamps", self.partition, back
            )
            self._last_now = now
        self._last_now = max(self._last_now, now)
        return self._last_now

    async def _pause(self, seconds: float) -> bool:
        """Wait for `seconds` or until `stop` is called; returns whether to stop."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        return self._stopping.is_set()


def _is_outage(error: Exception) -> bool:
    """Return whether the database, Redis or the lease was lost. If not, the batch is at fault."""
    state: str = getattr(error.__cause__, "sqlstate", None) or ""
    return isinstance(error, OUTAGES) and not state.startswith(TOO_LARGE_SQLSTATES)


def _monotonic() -> float:
    """The event loop's clock, in seconds."""
    return asyncio.get_running_loop().time()
