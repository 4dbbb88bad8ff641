"""The matching worker of one partition: read, match, commit, tell.

It owns the partition while it holds the lease. Whatever goes wrong, the database is right: after any doubt
about what was committed the worker drops its books and loads them from there. A batch that cannot be carried
out is run again one command at a time, and the one that fails alone is answered as failed.
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
from matching import documents, metrics
from matching.batch import Batch, Key, keys_of
from matching.checkpoint import LeaseLost
from matching.command_stream import CommandStream, Entry
from matching.counting import BatchCounter
from matching.lease_keeper import LeaseKeeper
from matching.ledger import Ledger
from matching.publishing import Outcome, Publisher
from matching.recovery import MarketBook
from matching.settlement import KeysTaken, Settled
from orders import messages

logger = logging.getLogger(__name__)

ATTEMPTS_MAX = 8  # of a batch whose keys are taken, each time by another partition

# By the orders that have idempotency keys already; with the position behind the last command that was run.
Match = Callable[[dict[Key, str]], tuple[Batch, str]]

OUTAGES = (OperationalError, InterfaceError, LeaseLost, RedisError, OSError)
# PostgreSQL's classes of errors that lie in what it was asked to do: 57014 query_canceled (it took too long), 54
# program_limit_exceeded. Such a batch fails again as a whole, but not each of its commands.
TOO_MUCH_ASKED = ("57014", "54")


class PlacedCommand(NamedTuple):
    """A command and its place in the stream, which is the position behind it."""

    command: messages.Command
    position: str


class MatchingWorker:
    """Runs until `stop` is called; then finishes the batch at hand and gives the lease back."""

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
        self._suspects_left = 0  # commands that are run one at a time, because a batch with them failed
        self._look_up_until = 0.0  # until then keys are looked up before they are matched
        self._arrived: list[Entry] = []  # read with the last batch's news, not yet handled
        self._last_now = datetime.min.replace(tzinfo=UTC)  # the time of the last batch
        self._heartbeat_due = 0.0
        self._instruments_due = 0.0
        self._backoff_seconds = settings.WORKER_BACKOFF_SECONDS_MIN
        self._counter = BatchCounter(partition)

    @classmethod
    def connect(cls, partition: int) -> Self:
        """A worker on the configured database and Redis."""
        owner = uuid.uuid4().hex
        redis = connect_redis()
        stream = CommandStream(redis, RedisSession(redis), partition)
        publisher = Publisher(
            redis, RedisSession(redis), stream, get_channel_layer(), partition=partition, owner=owner
        )
        return cls(partition, owner=owner, ledger=Ledger(partition), stream=stream, publisher=publisher)

    def stop(self) -> None:
        """Ask it to end; safe in a signal handler of the event loop."""
        self._stopping.set()

    async def run(self) -> None:
        """Match until told to stop, through every loss of database, Redis or lease."""
        try:
            while not self._stopping.is_set():
                try:
                    await self._own_and_match()
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
            await self._give_back()

    async def _own_and_match(self) -> None:
        """From the lease to the stop. Raises what ends the ownership."""
        waiting_said = False
        while not await self._lease.acquire():
            self._database_outage.ended()
            if not waiting_said:
                logger.info("partition %d: standby, another worker holds the lease", self.partition)
                waiting_said = True
            if await self._pause(settings.WORKER_BACKOFF_SECONDS_MIN):
                return
        await self._load()
        while not self._stopping.is_set():
            try:
                await self._join_stream()
                while not self._stopping.is_set():
                    await self._work()
            except (RedisError, OSError) as error:
                # The books are right and the lease is ours: only the way to the others is lost.
                self._redis_outage.failed(error)
                await self._lease.renew()
                await self._pause(settings.WORKER_BACKOFF_SECONDS_MIN)

    async def _load(self) -> None:
        started = time.perf_counter()
        async with self._lease.renewing():
            self._books = await self._ledger.load_books()
        self._database_outage.ended()
        # Clients may send again what was not answered; and a batch that failed must not fail at a key once more.
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
        # Commit waiting commands before the first heartbeat: a worker that can't commit must not say it matches.
        self._heartbeat_due = _monotonic()
        await self._work()
        self._backoff_seconds = settings.WORKER_BACKOFF_SECONDS_MIN
        self._redis_outage.ended()
        self._database_outage.ended()
        logger.info("partition %d: matching", self.partition)

    async def _work(self) -> None:
        """One batch, or no command until the heartbeat is due; and then the heartbeat."""
        entries, self._arrived = self._arrived, []
        if not entries:
            wait_seconds = self._heartbeat_due - _monotonic()
            entries = await self._stream.read(
                self._lease.held.position, count=self._read_max, wait_seconds=wait_seconds
            )
        if entries:
            await self._handle(entries)
        if _monotonic() >= self._heartbeat_due or self._publisher.is_mirror_lost:
            await self._heartbeat()

    async def _handle(self, entries: list[Entry]) -> None:
        commands, position = await self._decode(entries)
        position_before = self._lease.held.position
        try:
            await self._run_batch(commands, position)
            self._suspects_left = max(0, self._suspects_left - len(entries))
        except Exception as error:
            if _is_outage(error):
                raise
            logger.exception("a batch of %d commands failed: %s", len(commands), commands[:1])
            await self._load()
            if self._lease.held.position != position_before:
                return  # it was committed: whoever waits finds it in the database
            if len(commands) > 1:
                self._suspects_left = len(entries)
                return
            self._suspects_left = max(0, self._suspects_left - 1)
            await self._refuse(commands, position)

    async def _decode(self, entries: list[Entry]) -> tuple[list[PlacedCommand], str]:
        """The commands of one batch, and the position from which it starts.

        Entries that are not commands are set aside, if they are the first: others end the batch. So what is set
        aside is always behind the batch's position, however few of its commands are run.
        """
        commands: list[PlacedCommand] = []
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
            commands.append(PlacedCommand(command, entry.entry_id))
            if isinstance(command, messages.ReloadInstruments | messages.InspectBooks):
                # The next command must see the change; and what is shown must be what is committed.
                break
        return commands, position

    async def _run_batch(self, commands: list[PlacedCommand], position: str) -> None:
        """Run the commands until the batch is full; those that follow stay in the stream and are read again."""

        def match(known_keys: dict[Key, str]) -> tuple[Batch, str]:
            batch, reached = Batch(self._books, known_keys, self._now()), position
            for command, reached in commands:  # noqa: B007 - the last one counts
                batch.run(command)
                if batch.is_full:
                    break
            return batch, reached

        batch = await self._commit(keys_of([command for command, _ in commands]), match)
        if batch.instruments_changed:
            await self._reload_instruments()

    async def _refuse(self, commands: list[PlacedCommand], position: str) -> None:
        """Answer a command that cannot be carried out (if all entries were set aside: nothing); go on behind it."""
        metrics.failed.inc(len(commands))

        def match(known_keys: dict[Key, str]) -> tuple[Batch, str]:
            batch, reached = Batch(self._books, known_keys, self._now()), position
            for command, reached in commands:  # noqa: B007
                batch.fail(command, "It could not be processed and was not taken; nothing was changed.")
            return batch, reached

        await self._commit([], match)

    async def _commit(self, keys: list[Key], match: Match) -> Batch:
        started = _monotonic()
        batch, settled, position = await self._settle(keys, match)
        metrics.commit_seconds.observe(_monotonic() - started)
        await self._publish(batch, settled, position)
        return batch

    async def _settle(self, keys: list[Key], match: Match) -> tuple[Batch, Settled, str]:
        """Match and commit. Keys are mostly new: they are looked up only once the database has refused one."""
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
            known_keys = await self._find_keys(keys)  # another partition may take more of them meanwhile
        raise RuntimeError(f"the database has refused keys of a batch {ATTEMPTS_MAX} times")

    async def _find_keys(self, keys: list[Key]) -> dict[Key, str]:
        """Who sends a key again does so more than once: where one is found, look the next ones up at once."""
        known_keys = await self._ledger.find_keys(keys)
        if known_keys:
            self._look_up_until = _monotonic() + settings.WORKER_LOOK_UP_SECONDS
        return known_keys

    async def _publish(self, batch: Batch, settled: Settled, position: str) -> None:
        self._counter.count(batch)
        orders = documents.order_documents(batch)
        replies, news = (
            documents.replies(batch, orders, settled),
            documents.market_batches(settled, batch, orders),
        )
        self._arrived = await self._publisher.publish(
            Outcome(batch, replies, news), done=position, read_max=self._read_max
        )

    async def _heartbeat(self) -> None:
        await self._lease.renew_if_due()
        # Redis may have been replaced without our noticing.
        await self._stream.align(self._lease.held.position)
        async with self._lease.renewing():  # rebuilding a large mirror may take longer than the lease lasts
            await self._publisher.heartbeat(self._books.values())
        self._counter.tell_resting(self._books)
        if _monotonic() >= self._instruments_due:
            await self._reload_instruments()
        self._heartbeat_due = _monotonic() + settings.WORKER_HEARTBEAT_SECONDS

    async def _reload_instruments(self) -> None:
        """Take over changed instruments, load the books of added ones, drop those of others' instruments."""
        instruments = {
            symbol: instrument
            for symbol, instrument in (await self._ledger.load_instruments()).items()
            if instrument.partition == self.partition
        }
        for symbol in self._books.keys() - instruments.keys():
            logger.info("partition %d: %s is not matched here any more", self.partition, symbol)
            del self._books[symbol]
        added = instruments.keys() - self._books.keys()
        if added:  # new, or moved here with its resting orders
            async with self._lease.renewing():
                books = await self._ledger.load_books(added)
                self._books.update(books)
                await self._publisher.prepare(books.values(), self._lease.held.epoch)
        for symbol, market in self._books.items():
            market.instrument = instruments.get(symbol, market.instrument)
        self._instruments_due = _monotonic() + settings.INSTRUMENT_CACHE_SECONDS

    async def _give_back(self) -> None:
        with contextlib.suppress(RedisError, OSError):
            await self._publisher.end_heartbeat()
        with contextlib.suppress(OperationalError, InterfaceError):
            await self._lease.release()
        await self._ledger.aclose()
        await self._publisher.aclose()
        logger.info("partition %d: stopped", self.partition)

    @property
    def books(self) -> dict[str, MarketBook]:
        """The books in memory, by symbol; right only while the lease is held."""
        return self._books

    @property
    def _read_max(self) -> int:
        """How many commands may be in the next batch."""
        return 1 if self._suspects_left else settings.WORKER_BATCH_COMMANDS_MAX

    def _now(self) -> datetime:
        """The batch's time. It goes back only where the clock did, by more than WORKER_CLOCK_STEP_SECONDS."""
        now = datetime.now(UTC)
        back = (self._last_now - now).total_seconds()
        if back > settings.WORKER_CLOCK_STEP_SECONDS:
            logger.warning(
                "partition %d: the clock went back by %.1f s, and times with it", self.partition, back
            )
            self._last_now = now
        self._last_now = max(self._last_now, now)
        return self._last_now

    async def _pause(self, seconds: float) -> bool:
        """Wait, or until told to stop; returns whether to stop."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        return self._stopping.is_set()


def _is_outage(error: Exception) -> bool:
    """Whether the way to the database, to Redis or to the lease was lost, rather than a batch being impossible."""
    state: str = getattr(error.__cause__, "sqlstate", None) or ""
    return isinstance(error, OUTAGES) and not state.startswith(TOO_MUCH_ASKED)


def _monotonic() -> float:
    """The event loop's clock, in seconds."""
    return asyncio.get_running_loop().time()
