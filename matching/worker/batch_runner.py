"""Runs stream entries as batches: match, commit, publish.

A batch that fails is run again one command at a time, with books from the database. If a command
fails alone, its reply says so. Deferred commands come first, as in each batch.
"""

import asyncio
import logging
from collections.abc import Iterable

from django.conf import settings

from base.loops import loop_seconds
from base.times import unix_milliseconds
from matching.batch.batch import Batch, Key, keys_of
from matching.batch.deferred import DeferredCommand
from matching.commit.statement import CommitResult
from matching.publish.publisher import Publisher
from matching.worker import metrics
from matching.worker.batch_clock import BatchClock
from matching.worker.command_stream import CommandStream, Entry, entries_of
from matching.worker.committer import Committer, Match
from matching.worker.counting import BatchCounter
from matching.worker.decoding import StreamedCommand, decode_commands
from matching.worker.lease_keeper import LeaseKeeper
from matching.worker.live_books import LiveBooks
from matching.worker.outages import is_outage

logger = logging.getLogger(__name__)

_FAILED = "The request could not be processed. Nothing was changed."


class BatchRunner:
    """Runs one batch after the other. The methods raise outages: see outages.py."""

    def __init__(
        self,
        *,
        books: LiveBooks,
        committer: Committer,
        lease: LeaseKeeper,
        stream: CommandStream,
        publisher: Publisher,
        counter: BatchCounter,
    ) -> None:
        self.committer = committer
        self._books = books
        self._lease = lease
        self._stream = stream
        self._publisher = publisher
        self._counter = counter
        self.clock = BatchClock(lease.partition)
        self.make_batch: type[Batch] = Batch
        # Entries and deferred commands of a failed batch that still must be run one at a time.
        self._suspects_left = 0
        self._deferred_suspects_left = 0
        self._batch: Batch | None = None  # the last one
        self._ending: dict[str, None] = {}  # connections whose guards must end, in this order

    @property
    def read_max(self) -> int:
        """The largest number of commands in the next batch."""
        return 1 if self._suspects_left else settings.WORKER_BATCH_COMMANDS_MAX

    async def load_books(self) -> None:
        """Load all books from the database."""
        await self._books.load()
        self._ending = {}
        # Clients may repeat orders that were not answered, and a batch that failed for a taken
        # idempotency key must not fail for it again. So look keys up first for a while.
        self.committer.look_keys_up_for_a_while()

    def end_guards(self, process_ids: Iterable[str]) -> None:
        """End the guards that these API processes have now, in the next batches."""
        guards = self._books.state.guards
        for process_id in process_ids:
            found = [each for each in guards.of_process(process_id) if each not in self._ending]
            self._ending |= dict.fromkeys(found)
            if found:
                logger.warning(
                    "partition %d: API process %s shows no sign of life: %d guards end",
                    *(self._lease.partition, process_id, len(found)),
                )

    @property
    def _has_work_now(self) -> bool:
        """Whether a batch has something to do without any command, whatever the time."""
        state = self._books.state
        return bool(state.unfinished or state.deferred or self._ending)

    def seconds_to_due_work(self) -> float | None:
        """Return the time until something is due, or None. It is at most 0 if something is due."""
        if self._has_work_now:
            return 0.0
        next_ms = self._books.state.deadlines.next_ms
        return None if next_ms is None else (next_ms - unix_milliseconds(self.clock.now())) / 1000

    async def run_due_work(self) -> list[Entry]:
        """Do what is due without any command; returns the entries that arrived meanwhile.

        If the batch fails, this reloads the books.
        """
        if self._deferred_suspects_left:
            return await self._run_one_deferred()
        next_due = self._books.state.deadlines.next_due(unix_milliseconds(self.clock.now()))
        if not self._has_work_now and next_due is None:
            return []  # The next entry was stale.
        try:
            return await self._run_commands([], self._lease.held.position)
        except Exception as error:
            if is_outage(error):
                raise
            logger.exception("what is due could not be done")
            if not self._books.state.deferred:  # otherwise one of them may be at fault
                await asyncio.sleep(settings.WORKER_BACKOFF_SECONDS_MAX)
            await self.load_books()
            self._suspect_deferred()
            return []

    async def _run_one_deferred(self) -> list[Entry]:
        """Run a deferred command of a failed batch by itself. If it fails again, its reply says so."""
        self._deferred_suspects_left -= 1
        try:
            return await self._run_commands([], self._lease.held.position, deferred_max=1)
        except Exception as error:
            if is_outage(error):
                raise
            number = None if self._batch is None else self._batch.running
            logger.exception("a batch with the deferred command %s failed", number)
            await self.load_books()
            if number is None:  # What comes before it has failed.
                self._deferred_suspects_left = 0
                await asyncio.sleep(settings.WORKER_BACKOFF_SECONDS_MAX)
                return []
            deferred = self._books.state.deferred.get(number)
            return [] if deferred is None else await self._fail_deferred(deferred)

    def _suspect_deferred(self) -> None:
        """Have the deferred commands that a batch may have run be run one at a time."""
        self._deferred_suspects_left = min(
            len(self._books.state.deferred), settings.WORKER_BATCH_COMMANDS_MAX
        )

    async def run(self, entries: list[Entry]) -> list[Entry]:
        """Run the entries as a batch; returns the entries that arrived meanwhile.

        If the batch fails, this reloads the books, and the next batches have one command each.
        """
        if self._deferred_suspects_left:
            return await self._run_one_deferred()  # The entries are read again.
        position_before = self._lease.held.position
        commands, position = await decode_commands(entries, self._stream, position_before)
        is_alone = len(commands) <= 1 and bool(self._suspects_left or not self._books.state.deferred)
        try:
            arrived = await self._run_commands(
                commands,
                position,
                deferred_max=0 if self._suspects_left else settings.WORKER_BATCH_COMMANDS_MAX,
            )
        except Exception as error:
            if is_outage(error):
                raise
            logger.exception("a batch of %d commands failed: %s", len(commands), commands[:1])
            await self.load_books()
            if self._lease.held.position != position_before:
                return []  # It was committed. API processes find its results in the database.
            if not is_alone:
                self._suspects_left = len(entries)
                self._suspect_deferred()
                return []
            self._suspects_left = max(0, self._suspects_left - 1)
            return await self._fail_commands(commands, position)
        self._suspects_left = max(0, self._suspects_left - len(entries))
        return arrived

    async def _run_commands(
        self, commands: list[StreamedCommand], position: str, *, deferred_max: int | None = None
    ) -> list[Entry]:
        """Do what is due, then run deferred commands, and then others until the batch is full.

        The others are read again from the stream.
        """
        self._batch = None
        if deferred_max is None:
            deferred_max = settings.WORKER_BATCH_COMMANDS_MAX

        def match(known_keys: dict[Key, str]) -> tuple[Batch, str]:
            self._batch = batch = self._new_batch(known_keys)
            reached = position
            batch.start(self._ending)
            batch.run_deferred(deferred_max)
            for command, entry_position in commands:
                if not batch.run(command):
                    break
                reached = entry_position
            return batch, reached

        deferred = [one.command for one in self._books.state.deferred]
        keys = keys_of([*deferred, *(command for command, _ in commands)])
        batch, arrived = await self.commit_and_publish(keys, match)
        self._ending = {each: None for each in self._ending if each in self._books.state.guards}
        if batch.instruments_changed:
            await self._books.reload_instruments()
        return arrived

    async def _fail_commands(self, commands: list[StreamedCommand], position: str) -> list[Entry]:
        """Answer commands as failed, and commit the position after them.

        There is at most one command, and no command if all entries were dead letters.
        """
        metrics.failed.inc(len(commands))

        def match(known_keys: dict[Key, str]) -> tuple[Batch, str]:
            batch, reached = self._new_batch(known_keys), position
            for command, reached in commands:  # noqa: B007
                batch.fail(command, _FAILED)
            return batch, reached

        _, arrived = await self.commit_and_publish([], match)
        return arrived

    async def _fail_deferred(self, deferred: DeferredCommand) -> list[Entry]:
        """Answer a deferred command as failed."""
        metrics.failed.inc()

        def match(known_keys: dict[Key, str]) -> tuple[Batch, str]:
            batch = self._new_batch(known_keys)
            batch.fail_deferred(deferred, _FAILED)
            return batch, self._lease.held.position

        _, arrived = await self.commit_and_publish([], match)
        return arrived

    def _new_batch(self, known_keys: dict[Key, str]) -> Batch:
        return self.make_batch(self._books.state, known_keys, self.clock.now())

    async def commit_and_publish(self, keys: list[Key], match: Match) -> tuple[Batch, list[Entry]]:
        """Match a batch with these keys, commit it, and only then publish it.

        Returns the batch, and the entries that arrived meanwhile.
        """
        started = loop_seconds()
        batch, result, position = await self.committer.match_and_commit(keys, match)
        metrics.commit_seconds.observe(loop_seconds() - started)
        return batch, await self.publish_batch(batch, result, position)

    async def publish_batch(self, batch: Batch, result: CommitResult, position: str) -> list[Entry]:
        """Publish a batch, and read the entries after its position in the same round trip."""
        self._counter.count(batch)
        *_, answer = await self._publisher.publish(
            batch,
            result,
            then=(
                self._stream.trim_command(position),
                self._stream.read_command(position, count=self.read_max),
            ),
        )
        return entries_of(answer)
