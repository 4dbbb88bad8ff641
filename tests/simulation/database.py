"""A model of the database: rows, one lock, and atomic transactions.

It has the guarantees of PostgreSQL that the statements of matching/commit/ rely on: the checkpoint's
row lock, the compare-and-set, unique order ids and keys, fills that do not exceed quantities, and
sessions that can be ended. Amounts are ticks and lots.
"""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import IntegrityError, OperationalError

from base.times import unix_milliseconds
from instruments.directory import TradedInstrument
from instruments.grid import Grid
from matching.batch.batch import Batch, Key
from matching.batch.commands import place_order
from matching.batch.deadlines import Deadlines, Expiry
from matching.batch.effects import EventRow, OrderChange, TradeRow
from matching.batch.market_book import MarketBook, PartitionState
from matching.commit.checkpoint import Lease, LeaseLost
from matching.commit.session import KeysTaken, OrdersMissing
from matching.commit.statement import CommitResult
from matching.engine import OrderBook
from orders.models import LIVE_STATUSES, RESTING_STATUSES
from tests.simulation.process import Process

LOCK_POLL_SECONDS = 0.005
OPEN_ORDERS_MAX = 3  # of one client
GRID = Grid.of(Decimal("0.01"), Decimal("0.00000001"))


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


@dataclass
class Row:
    """An order in the database, with the attributes of the Django model."""

    order_id: str
    client_id: str
    instrument: TradedInstrument
    side: str
    type: str
    price_ticks: int
    quantity_lots: int
    filled_lots: int
    notional: int  # ticks * lots
    status: str
    reason: str | None
    idempotency_key: str | None
    terms: int | None
    priority: int | None
    sequence: int
    created_at: datetime
    updated_at: datetime
    time_in_force: str = "gtc"
    expires_at: datetime | None = None
    post_only: bool = False
    self_trade_prevention: str = "none"
    prevented_lots: int = 0
    trigger_price_ticks: int = 0
    triggered_at: datetime | None = None
    trades: list[TradeRow] = field(default_factory=list)

    @property
    def instrument_id(self) -> int:
        return self.instrument.instrument_id

    @property
    def price(self) -> Decimal | None:
        return Decimal(GRID.price.text(self.price_ticks)) if self.price_ticks else None

    @property
    def quantity(self) -> Decimal:
        return Decimal(GRID.quantity.text(self.quantity_lots))

    @property
    def filled_quantity(self) -> Decimal:
        return Decimal(GRID.quantity.text(self.filled_lots))

    @property
    def filled_notional(self) -> Decimal:
        return Decimal(GRID.notional_text(self.notional))

    @property
    def prevented_quantity(self) -> Decimal:
        return Decimal(GRID.quantity.text(self.prevented_lots))

    @property
    def trigger_price(self) -> Decimal | None:
        return Decimal(GRID.price.text(self.trigger_price_ticks)) if self.trigger_price_ticks else None

    @property
    def remaining_lots(self) -> int:
        return self.quantity_lots - self.filled_lots - self.prevented_lots

    @property
    def is_resting(self) -> bool:
        return self.status in RESTING_STATUSES

    @property
    def is_live(self) -> bool:
        return self.status in LIVE_STATUSES

    def apply(self, change: OrderChange, now: datetime) -> None:
        """Change the row as the commit's statement does."""
        self.filled_lots += change.filled_lots
        self.notional += change.filled_notional
        self.prevented_lots += change.prevented_lots
        self.price_ticks = change.price_ticks or self.price_ticks
        self.quantity_lots = change.quantity_lots or self.quantity_lots
        self.trigger_price_ticks = change.trigger_price_ticks or self.trigger_price_ticks
        self.expires_at = change.expires_at or self.expires_at
        self.triggered_at = now if change.is_triggered else self.triggered_at
        self.priority = self.priority if change.priority is None else change.priority
        self.status = change.status or ("partially_filled" if self.filled_lots else "open")
        self.reason = change.reason
        if self.status == "filled" and self.prevented_lots:
            self.status, self.reason = "cancelled", "self_trade"
        self.sequence = change.sequence
        self.updated_at = now


@dataclass(eq=False)
class Session:
    """A process's connection to the database. Its end rolls back its open transaction."""

    process: Process
    owner: str = ""
    ended: bool = False


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
        self.events: list[EventRow] = []
        self.switches: dict[str, datetime] = {}  # by client
        self.sequences = dict.fromkeys(self.instruments, 0)
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
        for order in batch.orders.values():
            key = (order.command.client_id, order.command.idempotency_key)
            if order.command.order_id in self.orders:
                raise IntegrityError(f"order id {order.command.order_id} is there already")
            if self.without != "keys" and order.command.idempotency_key is not None and key in self.keys:
                raise KeysTaken
        for order_id, change in batch.changes.items():
            row = self.orders.get(order_id)
            if row is None:
                raise OrdersMissing(f"no resting order {order_id}")
            if row.filled_lots + change.filled_lots > (change.quantity_lots or row.quantity_lots):
                raise IntegrityError(f"order {order_id} filled above its quantity")
        self._insert(batch)
        return self._change(batch)

    def _insert(self, batch: Batch) -> None:
        for order_id, order in batch.orders.items():
            command = order.command
            self.orders[order_id] = Row(
                order_id=order_id,
                client_id=command.client_id,
                instrument=order.instrument,
                side=command.side,
                type=command.order_type,
                price_ticks=order.price_ticks,
                quantity_lots=order.quantity_lots,
                filled_lots=order.filled_lots,
                notional=order.filled_notional,
                status=order.status,
                reason=order.reason,
                idempotency_key=command.idempotency_key,
                terms=command.terms,
                priority=order.priority,
                sequence=order.sequence,
                created_at=batch.now,
                updated_at=batch.now,
                time_in_force=command.time_in_force,
                expires_at=order.expires_at,
                post_only=command.post_only,
                self_trade_prevention=command.self_trade_prevention,
                prevented_lots=order.prevented_lots,
                trigger_price_ticks=order.trigger_price_ticks,
                triggered_at=batch.now if order.is_triggered else None,
            )
            if command.idempotency_key is not None:
                self.keys[command.client_id, command.idempotency_key] = order_id
        for trade in batch.trades:
            self.trades.append(trade)
            for party in (trade.event.maker, trade.event.taker):
                self.orders[party.order_id].trades.append(trade)
        for symbol, change in batch.books.items():
            self.sequences[symbol] = change.sequence
        self.events.extend(batch.event_rows)
        for client_id, cancel_at in batch.switches.items():
            if cancel_at is None:
                self.switches.pop(client_id, None)
            else:
                self.switches[client_id] = cancel_at

    def _change(self, batch: Batch) -> list[Row]:
        changed = []
        for order_id, change in batch.changes.items():
            row = self.orders[order_id]
            row.apply(change, batch.now)
            changed.append(replace(row))
        return changed

    def load_books(self, deadlines: Deadlines | None = None) -> dict[str, MarketBook]:
        """Load the books as matching.recovery does."""
        last_prices = {trade.instrument.symbol: trade.event.price_ticks for trade in self.trades}
        books = {
            symbol: MarketBook(
                instrument,
                OrderBook(sequence=self.sequences[symbol], last_price_ticks=last_prices.get(symbol)),
            )
            for symbol, instrument in self.instruments.items()
        }
        live = sorted((row for row in self.orders.values() if row.is_live), key=lambda row: row.priority or 0)
        for row in live:
            order = place_order(
                order_id=row.order_id,
                client_id=row.client_id,
                side=row.side,
                order_type=row.type,
                price_ticks=row.price_ticks,
                quantity_lots=row.quantity_lots,
                time_in_force=row.time_in_force,
                post_only=row.post_only,
                self_trade_prevention=row.self_trade_prevention,
                trigger_price_ticks=row.trigger_price_ticks,
            )
            book, symbol = books[row.instrument.symbol], row.instrument.symbol
            if row.is_resting:
                book.restore(order, row.remaining_lots)
            else:
                book.restore_waiting(order, is_triggered=row.triggered_at is not None)
            if deadlines is not None and row.expires_at is not None:
                due_ms = unix_milliseconds(row.expires_at)
                deadlines.set_expiry(Expiry(due_ms, row.priority or 0, symbol, row.order_id))
        return books

    def load(self) -> PartitionState:
        """Load the state of the partition as matching.recovery does."""
        state = PartitionState()
        state.books = self.load_books(state.deadlines)
        for client_id, cancel_at in self.switches.items():
            state.deadlines.set_switch(client_id, unix_milliseconds(cancel_at))
        for market in state.books.values():
            state.note_triggered(market)
        return state


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
        state = self._database.load()
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
