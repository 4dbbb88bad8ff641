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

from instruments.directory import TradedInstrument
from instruments.grid import Grid
from matching.batch.batch import Batch, Key
from matching.batch.effects import TradeRow
from matching.batch.market_book import MarketBook
from matching.commit.checkpoint import Lease, LeaseLost
from matching.commit.session import KeysTaken, OrdersMissing
from matching.commit.statement import CommitResult
from matching.engine import OrderBook, Side
from orders.models import RESTING_STATUSES
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
    def is_resting(self) -> bool:
        return self.status in RESTING_STATUSES


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
            if row.filled_lots + change.filled_lots > row.quantity_lots:
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
                price_ticks=command.price_ticks,
                quantity_lots=command.quantity_lots,
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
            )
            if command.idempotency_key is not None:
                self.keys[command.client_id, command.idempotency_key] = order_id
        for trade in batch.trades:
            self.trades.append(trade)
            for order_id in (trade.event.maker_order_id, trade.event.taker_order_id):
                self.orders[order_id].trades.append(trade)
        for symbol, change in batch.books.items():
            self.sequences[symbol] = change.sequence

    def _change(self, batch: Batch) -> list[Row]:
        changed = []
        for order_id, change in batch.changes.items():
            row = self.orders[order_id]
            row.filled_lots += change.filled_lots
            row.notional += change.filled_notional
            row.status = change.status
            row.reason = change.reason
            row.sequence = change.sequence
            row.updated_at = batch.now
            changed.append(replace(row))
        return changed

    def load_books(self) -> dict[str, MarketBook]:
        """Load the books as matching.recovery does."""
        books = {
            symbol: MarketBook(instrument, OrderBook(sequence=self.sequences[symbol]))
            for symbol, instrument in self.instruments.items()
        }
        resting = (row for row in self.orders.values() if row.is_resting)
        for row in sorted(resting, key=lambda row: row.priority or 0):
            books[row.instrument.symbol].restore(
                order_id=row.order_id,
                client_id=row.client_id,
                side=Side.BUY if row.side == "buy" else Side.SELL,
                price_ticks=row.price_ticks,
                remaining_lots=row.quantity_lots - row.filled_lots,
            )
        return books


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

    async def load_books(self, symbols: Collection[str] | None = None) -> dict[str, MarketBook]:
        session = await self._begin()
        books = self._database.load_books()
        await self._end(session)
        return {symbol: book for symbol, book in books.items() if symbols is None or symbol in symbols}

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
