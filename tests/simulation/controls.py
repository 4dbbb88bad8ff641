"""Protections that can be switched off, to prove that the simulation would find the fault.

Each control replaces a line or two of the exchange by code without the protection. Some protections
are guarantees of the database. The model switches them off by their names.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from redis.exceptions import RedisError

from matching.batch.batch import Batch
from matching.batch.deferred import DeferredCommands
from matching.batch.market_book import PartitionState
from matching.commit.statement import CommitResult
from matching.worker.worker import MatchingWorker
from orders.gateway.appender import Appender


def _change_nothing(part: Any) -> None:
    """Change nothing: the protection lies in another part."""


@dataclass(frozen=True)
class Control:
    """One protection, how to switch it off, and the fault against which it protects.

    With `against`, half of a run's faults are of that kind.
    """

    name: str
    against: str = ""
    weaken_worker: Callable[[MatchingWorker], None] = _change_nothing
    appender: type[Appender] = Appender


def _answer_before_the_commit(worker: Any) -> None:
    async def publish_and_commit(keys: Any, match: Any) -> Any:
        batch, position = match({})
        arrived = await worker.runner.publish_batch(batch, CommitResult([], {}), position)
        await worker.lease.commit(batch, position)
        return batch, arrived

    worker.runner.commit_and_publish = publish_and_commit


def _keep_the_books_after_a_doubt(worker: Any) -> None:
    load = worker.books.load

    async def load_once() -> None:
        if not worker.books.by_symbol:
            await load()

    worker.books.load = load_once


def _replace_undo(worker: Any, undo: Callable[[Batch], None]) -> None:
    """Make the worker call `undo` instead of the real undo of a refused batch."""
    committer = worker.runner.committer
    match_and_commit = committer.match_and_commit

    async def commit(keys: Any, match: Any) -> Any:
        def match_weakly(known_keys: Any) -> Any:
            batch, position = match(known_keys)
            batch.undo = lambda: undo(batch)
            return batch, position

        return await match_and_commit(keys, match_weakly)

    committer.match_and_commit = commit


def _keep_the_books_after_a_refusal(worker: Any) -> None:
    _replace_undo(worker, lambda batch: None)


def _forget_deadlines_after_a_refusal(worker: Any) -> None:
    def undo_the_markets_alone(batch: Batch) -> None:
        for market, events, last_price_ticks in reversed(batch.events):
            market.undo(events, last_price_ticks)
            worker.books.state.note_triggered(market)

    _replace_undo(worker, undo_the_markets_alone)


def _keep_the_counts_after_a_refusal(worker: Any) -> None:
    def undo_the_books_alone(batch: Batch) -> None:
        for market, events, last_price_ticks in reversed(batch.events):
            market.book.undo(events, last_price_ticks)

    _replace_undo(worker, undo_the_books_alone)


def _do_not_align(worker: Any) -> None:
    async def align(position: str) -> None:
        """Rely on the ids of a restarted server."""

    worker.stream.align = align


def _never_rebuild_a_mirror(worker: Any) -> None:
    mirror = worker.publisher.mirror
    rebuild = mirror.rebuild
    built: set[str] = set()

    async def rebuild_once(market: Any) -> None:
        if market.instrument.symbol not in built:
            built.add(market.instrument.symbol)
            await rebuild(market)

    mirror.rebuild = rebuild_once


def _write_mirrors_of_any_epoch(worker: Any) -> None:
    prepare = worker.publisher.prepare

    async def prepare_as_the_last(books: Any, epoch: int) -> None:
        await prepare(books, 10**9)

    worker.publisher.prepare = prepare_as_the_last


class _LateBatch(Batch):
    """Does not begin with what is due."""

    def start(self, ending: Collection[str] = ()) -> None:
        """Do nothing yet."""


def _do_what_is_due_after_the_commands(worker: Any) -> None:
    worker.runner.make_batch = _LateBatch
    committer = worker.runner.committer
    match_and_commit = committer.match_and_commit

    async def commit(keys: Any, match: Any) -> Any:
        def match_first(known_keys: Any) -> Any:
            batch, position = match(known_keys)
            Batch.start(batch)
            return batch, position

        return await match_and_commit(keys, match_first)

    committer.match_and_commit = commit


def _forget_at_a_takeover(forget: Callable[[PartitionState], None]) -> Callable[[MatchingWorker], None]:
    """Make a worker forget a part of the state that it has loaded."""

    def weaken(worker: Any) -> None:
        load = worker.books.load

        async def load_in_part() -> None:
            await load()
            forget(worker.books.state)

        worker.books.load = load_in_part

    return weaken


def _forget_expiries(state: PartitionState) -> None:
    for order_id in list(state.deadlines._expiries):
        state.deadlines.remove_expiry(order_id)


def _forget_switches(state: PartitionState) -> None:
    for client_id in list(state.deadlines._switches):
        state.deadlines.set_switch(client_id, None)


def _forget_last_prices(state: PartitionState) -> None:
    for market in state.books.values():
        market.book.last_price_ticks = None


def _forget_chains(state: PartitionState) -> None:
    state.unfinished.clear()


def _forget_deferred(state: PartitionState) -> None:
    state.deferred = DeferredCommands()


class _AppendAgain(Appender):
    """Sends commands again that may have been appended already."""

    async def append(self, batch: Any) -> None:
        await super().append(batch)
        if any(waiting.sent and waiting.admission is None for waiting in batch):
            await super().append(batch)


class _AppendLate(Appender):
    """Sends commands that were refused while they waited."""

    async def append(self, batch: Any) -> None:
        try:
            await self.script.connect()
            admissions = await self.script.admit([one.applicant for one in batch])
        except (RedisError, OSError):
            return
        for waiting, admission in zip(batch, admissions, strict=True):
            waiting.sent = True
            waiting.admission = admission
            self.on_admission(waiting, admission)


CONTROLS = [
    Control("fencing", against="freeze"),
    Control("position in the transaction", against="kill owner"),
    Control("keys"),
    Control("commit before the answer", weaken_worker=_answer_before_the_commit),
    Control("books loaded after a doubt", weaken_worker=_keep_the_books_after_a_doubt),
    Control("books taken back after a refusal", weaken_worker=_keep_the_books_after_a_refusal),
    Control("counts taken back after a refusal", weaken_worker=_keep_the_counts_after_a_refusal),
    Control("deadlines taken back after a refusal", weaken_worker=_forget_deadlines_after_a_refusal),
    Control("what is due comes first", weaken_worker=_do_what_is_due_after_the_commands),
    Control("switches in the transaction"),
    *(
        Control(
            f"{what} loaded at a takeover", against="kill owner", weaken_worker=_forget_at_a_takeover(forget)
        )
        for what, forget in (
            ("expiries", _forget_expiries),
            ("switches", _forget_switches),
            ("chains", _forget_chains),
            ("last prices", _forget_last_prices),
            ("deferred commands", _forget_deferred),
        )
    ),
    Control("stream aligned with the position", against="empty redis", weaken_worker=_do_not_align),
    Control("mirrors rebuilt", weaken_worker=_never_rebuild_a_mirror),
    Control("mirrors fenced", against="freeze", weaken_worker=_write_mirrors_of_any_epoch),
    Control("an append is never repeated", against="end redis connections", appender=_AppendAgain),
    Control("a refused command is not sent", against="freeze", appender=_AppendLate),
]
