"""A model of the database: rows, one lock, and atomic transactions.

It has the guarantees of PostgreSQL that the statements of matching/commit/ rely on: the checkpoint's
row lock, the compare-and-set, unique order ids and keys, the constraints of orders, and sessions that
can be ended. Amounts are ticks and lots.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from django.conf import settings
from django.db import IntegrityError, OperationalError

from base.times import unix_milliseconds
from instruments.directory import TradedInstrument
from matching.batch.batch import Batch, Key
from matching.batch.deadlines import Deadlines, Expiry
from matching.batch.deferred import ties_of
from matching.batch.effects import EventRow, TradeRow
from matching.batch.guards import Guard
from matching.batch.market_book import MarketBook, PartitionState
from matching.commit.checkpoint import Lease, LeaseLost
from matching.commit.session import KeysTaken, OrdersMissing
from matching.commit.statement import CommitResult
from matching.engine import OrderBook
from orders.messages import decode_command, encode
from tests.simulation.process import Process
from tests.simulation.rows import GRID, Row, StoredEvent, changed_row, inserted_row

LOCK_POLL_SECONDS = 0.005
OPEN_ORDERS_MAX = 3  # of one client


def make_instrument(number: int, symbol: str) -> TradedInstrument:
    """Return an instrument of partition 0 that allows almost any price and quantity."""
    return TradedInstrument(
        instrument_id=number,
        symbol=symbol,
        grid=GRID,
        min_quantity=Decimal("0.00000001"),
        max_quantity=Decimal(10_000),
        min_price=Decimal("0.01"),
        max_price=Decimal(1_000_000),
        open_orders_max=OPEN_ORDERS_MAX,
        halted=False,
        partition=0,
    )


@dataclass(eq=False)
class Session:
    """A process's connection to the database. Its end rolls back its open transaction."""

    process: Process
    owner: str = ""
    ended: bool = False


class Before(NamedTuple):
    """What was stored before a batch, for checks of the batch."""

    expires_at: dict[str, datetime | None]  # of the orders that it changed
    switches: dict[str, datetime]


class Database:
    """The committed data, and the open sessions."""

    def __init__(self, instruments: Sequence[TradedInstrument], *, without: str = "") -> None:
        self.instruments = {instrument.symbol: instrument for instrument in instruments}
        self.without = without  # the protection that a control has switched off
        self.up = True
        # Whether a new owner may end the sessions of the last. PostgreSQL allows it within a role.
        self.cuts_off = True
        self.orders: dict[str, Row] = {}
        self.keys: dict[Key, str] = {}
        self.trades: list[TradeRow] = []
        self.sequences = dict.fromkeys(self.instruments, 0)
        self.switches: dict[str, datetime] = {}
        self.guards: dict[str, Guard] = {}  # by connection
        self.deferred: dict[int, bytes] = {}  # commands by number
        self.unanswered: set[str] = set()  # requests whose commands were deferred
        self.latest = datetime.min.replace(tzinfo=UTC)  # the latest time of a batch
        self.on_write: Callable[[Batch, Before], None] = lambda batch, before: None
        self.epoch = 0
        self.position = "0-0"
        self.owner = ""
        self.expires_at = 0.0
        self.sessions: set[Session] = set()
        self._lock: Session | None = None

    def connect(self, process: Process) -> Session:
        """Open a session. Raises OperationalError if the server is away."""
        if not self.up:
            raise OperationalError("the server is away")
        session = Session(process)
        self.sessions.add(session)
        return session

    def end(self, session: Session) -> None:
        session.ended = True
        self.sessions.discard(session)
        if self._lock is session:
            self._lock = None

    def end_all(self) -> None:
        for session in list(self.sessions):
            self.end(session)

    async def lock(self, session: Session) -> None:
        """Take the checkpoint's row lock. Raises OperationalError if the session ends meanwhile."""
        while self._lock is not None and self._lock is not session:
            await asyncio.sleep(LOCK_POLL_SECONDS)
            self.check(session)
        self._lock = session

    def unlock(self, session: Session) -> None:
        if self._lock is session:
            self._lock = None

    def check(self, session: Session) -> None:
        if session.ended:
            raise OperationalError("the connection was lost")

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def holds(self, lease: Lease) -> bool:
        """Return whether the compare-and-set would succeed."""
        if self.without == "fencing":
            return True
        return (self.epoch, self.position) == (lease.epoch, lease.position)

    def write(self, batch: Batch) -> list[Row]:
        """Write a batch, and return those of its rows that existed before.

        Changes nothing if a row can't be written, and raises IntegrityError, KeysTaken or OrdersMissing.
        """
        self._check_keys(batch)
        inserted = [inserted_row(order, batch) for order in batch.orders.values()]
        changed = [
            changed_row(self.orders[order_id], change, batch) for order_id, change in batch.changes.items()
        ]
        for row in (*inserted, *changed):
            row.check()
        events = [self._event(event) for event in batch.event_rows]
        before = Before(
            {row.order_id: self.orders[row.order_id].expires_at for row in changed}, dict(self.switches)
        )
        self.orders |= {row.order_id: row for row in (*inserted, *changed)}
        self.keys |= {
            (row.client_id, row.idempotency_key): row.order_id
            for row in inserted
            if row.idempotency_key is not None
        }
        for trade in batch.trades:
            self.trades.append(trade)
            for order in (trade.event.maker, trade.event.taker):
                self.orders[order.order_id].trades.append(trade)
        for stored in events:
            self.orders[stored.order_id].events.append(stored)
        self.sequences |= {symbol: change.sequence for symbol, change in batch.books.items()}
        if self.without != "switches in the transaction":
            switches = self.switches | batch.switches
            self.switches = {client_id: at for client_id, at in switches.items() if at is not None}
        guards = self.guards | batch.guards
        self.guards = {connection_id: guard for connection_id, guard in guards.items() if guard is not None}
        self.deferred |= {one.number: encode(one.command) for one in batch.deferred}
        for number in batch.resumed:
            self.deferred.pop(number, None)
        self.unanswered |= {one.command.request_id for one in batch.deferred}
        self.unanswered -= answered_by(batch)
        self.latest = max(self.latest, batch.now)
        self.on_write(batch, before)
        return [replace(row) for row in changed]

    def _check_keys(self, batch: Batch) -> None:
        """Raise an error if an id or a key is taken, or if an order is missing."""
        for order in batch.orders.values():
            key = (order.command.client_id, order.command.idempotency_key)
            if order.command.order_id in self.orders:
                raise IntegrityError(f"order id {order.command.order_id} is there already")
            if self.without != "keys" and key[1] is not None and key in self.keys:
                raise KeysTaken
        if any(one.number in self.deferred for one in batch.deferred):
            raise IntegrityError("the number of a deferred command is taken")
        missing = batch.changes.keys() - self.orders.keys()
        if missing:
            raise OrdersMissing(f"no live orders {missing}")

    def _event(self, event: EventRow) -> StoredEvent:
        priority = event.priority
        if event.changes_priority and priority is None:
            priority = self.orders[event.order.order_id].priority
        return StoredEvent(
            event.order.order_id,
            event.instrument.symbol,
            event.sequence,
            event.kind,
            priority,
            event.order,
            event.taker_order_id,
            event.prevented_lots or 0,
        )

    def has_due_work(self, now: datetime) -> bool:
        """Return whether an order or a switch is due, or a triggered order has not entered its book."""
        expiries = (row.expires_at for row in self.orders.values() if row.is_live)
        is_due = any(at is not None and at <= now for at in (*expiries, *self.switches.values()))
        return is_due or any(row.status == "pending" and row.triggered_at for row in self.orders.values())

    def load_partition(self) -> PartitionState:
        """Load books, deadlines and guards as matching.recovery does."""
        state = PartitionState()
        state.books = self.load_books(state.deadlines)
        for client_id, cancel_at in self.switches.items():
            state.deadlines.set_switch(client_id, unix_milliseconds(cancel_at))
        for connection_id, guard in self.guards.items():
            state.guards.set(connection_id, guard)
        for market in state.books.values():
            state.note_triggered(market)
        for number, payload in self.deferred.items():
            command = decode_command(payload)
            state.deferred.add(command, ties_of(command, state), number)
        return state

    def load_books(self, deadlines: Deadlines | None = None) -> dict[str, MarketBook]:
        """Load the books, and add the expiries of their orders."""
        last_prices = {trade.instrument.symbol: trade.event.price_ticks for trade in self.trades}
        books = {
            symbol: MarketBook(
                instrument,
                OrderBook(sequence=self.sequences[symbol], last_price_ticks=last_prices.get(symbol)),
            )
            for symbol, instrument in self.instruments.items()
        }
        live = (row for row in self.orders.values() if row.is_live)
        for row in sorted(live, key=lambda row: row.priority or 0):
            symbol = row.instrument.symbol
            if row.is_resting:
                books[symbol].restore(row.order(), row.remaining_lots)
            else:
                books[symbol].restore_waiting(row.order(), is_triggered=row.triggered_at is not None)
            if deadlines is not None and row.expires_at is not None:
                due_ms = unix_milliseconds(row.expires_at)
                deadlines.set_expiry(Expiry(due_ms, row.priority or 0, symbol, row.order_id))
        return books


def answered_by(batch: Batch) -> set[str]:
    """Return the ids of the requests that a batch answers."""
    replies = [reply for its_replies in batch.replies.values() for reply in its_replies]
    changed = {one.request_id for one in batch.cancelled} | {one.request_id for one in batch.amended}
    return {one.request_id for one in replies} | changed | batch.orders.keys()


class SimulatedStore:
    """`matching.worker.partition_store.PartitionStore` on the model, in steps."""

    def __init__(self, process: Process, database: Database) -> None:
        self._process = process
        self._database = database
        self._sessions: dict[str, Session] = {}

    async def acquire(self, owner: str) -> Lease | None:
        database = self._database
        session = await self._begin()
        session.owner = owner
        if database.cuts_off and database.owner != owner and database.expires_at <= database.now():
            for other in list(database.sessions):
                if other.owner == database.owner and other is not session:
                    database.end(other)
        await database.lock(session)
        mine = database.owner == owner or database.expires_at <= database.now()
        if mine:
            database.epoch += 1
            database.owner = owner
            self._extend()
        lease = Lease(0, owner, database.epoch, database.position) if mine else None
        database.unlock(session)
        await self._end(session)
        return lease

    async def load(self) -> PartitionState:
        session = await self._begin()
        state = self._database.load_partition()
        await self._end(session)
        return state

    async def load_books(self, symbols: Collection[str], deadlines: Deadlines) -> dict[str, MarketBook]:
        session = await self._begin()
        books = self._database.load_books(deadlines)
        await self._end(session)
        return {symbol: book for symbol, book in books.items() if symbol in symbols}

    async def load_instruments(self) -> dict[str, TradedInstrument]:
        session = await self._begin()
        await self._end(session)
        return self._database.instruments

    async def find_keys(self, keys: Sequence[Key]) -> dict[Key, str]:
        database = self._database
        session = await self._begin()
        known = {key: database.keys[key] for key in keys if key in database.keys}
        await self._end(session)
        return {} if database.without == "keys" else known

    async def commit(self, batch: Batch, lease: Lease, position: str) -> tuple[Lease, CommitResult]:
        database = self._database
        session = await self._begin()
        await database.lock(session)
        try:
            if not database.holds(lease):
                raise LeaseLost(f"epoch={lease.epoch} position={lease.position}")
            await self._end(session)  # the process may freeze here with the lock, or lose its session
            changed: Any = database.write(batch)
            if database.without != "position in the transaction":
                database.position = position
            self._extend()
        finally:
            database.unlock(session)
        await self._end(session)
        if database.without == "position in the transaction":
            database.position = position
        return lease._replace(position=position), CommitResult(changed, {})

    async def renew(self, lease: Lease) -> Lease:
        return await self._renew(lease, "committing")

    async def renew_on_second_connection(self, lease: Lease) -> None:
        await self._renew(lease, "renewing")

    async def _renew(self, lease: Lease, connection: str) -> Lease:
        session = await self._begin(connection)
        await self._database.lock(session)
        held = self._database.holds(lease)
        if held:
            self._extend()
        self._database.unlock(session)
        if not held:
            raise LeaseLost(f"epoch={lease.epoch} position={lease.position}")
        await self._end(session)
        return lease

    async def release(self, lease: Lease) -> None:
        session = await self._begin()
        if self._database.epoch == lease.epoch:
            self._database.expires_at = self._database.now()
        await self._end(session)

    async def disconnect(self) -> None:
        await self._process.step()
        for session in self._sessions.values():
            self._database.end(session)
        self._sessions.clear()

    aclose = disconnect

    def _extend(self) -> None:
        self._database.expires_at = self._database.now() + settings.WORKER_LEASE_SECONDS

    async def _begin(self, connection: str = "committing") -> Session:
        """Pass the time of a statement on its way to the server. Returns the session."""
        await self._process.step()
        session = self._sessions.get(connection)
        if session is None:
            session = self._sessions[connection] = self._database.connect(self._process)
        self._database.check(session)
        return session

    async def _end(self, session: Session) -> None:
        """Pass the time of the result on its way back."""
        try:
            await self._process.step()
        except BaseException:
            self._database.end(session)  # the server sees a dead client's connection closed
            raise
        self._database.check(session)
