"""The processes of the simulation: real parts of workers and API processes, on the models."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

from base.refusals import Unavailable
from base.times import time_text
from instruments.directory import TradedInstrument, instrument_hint
from matching.batch.effects import SIDE_NAMES
from matching.publish.publisher import Publisher
from matching.worker.batch_clock import BatchClock
from matching.worker.command_stream import CommandStream
from matching.worker.life_watch import LifeWatch
from matching.worker.partition_store import PartitionStore
from matching.worker.worker import MatchingWorker
from orders import messages
from orders.desk import OrderDesk
from orders.documents import FillDocument, OrderDocument, stored_state
from orders.gateway.appender import Appender
from orders.gateway.gateway import OrderGateway
from orders.gateway.link import RedisLink
from orders.look_ups import DeskReads, PacedRows
from orders.selectors import find_order, find_order_row, find_order_rows, find_order_rows_by_key
from tests.simulation.database import Database, SimulatedStore
from tests.simulation.process import Process
from tests.simulation.redis_links import SimulatedAdmission, SimulatedReplies, SimulatedSession
from tests.simulation.redis_model import GROUPS, Client, Server
from tests.simulation.rows import GRID, Row

# The time when a run starts. API processes read the real clock, and an expiry must be ahead of it.
STARTED_AT = datetime(2100, 1, 1, tzinfo=UTC)
HINTS_ASTRAY = 5  # one in so many cancels is first sent to a wrong book, or to none


def time_after(seconds: float) -> datetime:
    """Return the time so many seconds from now, in whole milliseconds."""
    milliseconds = round(1000 * (asyncio.get_running_loop().time() + seconds))
    return STARTED_AT + timedelta(milliseconds=milliseconds)


class Clock(BatchClock):
    """The clock of a process's machine, which need not be right."""

    def __init__(self, process: Process) -> None:
        super().__init__(0)
        self._process = process

    def read(self) -> datetime:
        return time_after(self._process.clock_ahead_seconds)


class Layer:
    """A channel layer whose messages are not encoded, and whose groups share one channel."""

    def _get_group_channel_name(self, group: str) -> str:
        return GROUPS

    def serialize(self, message: dict[str, Any]) -> dict[str, Any]:
        return message


def make_worker(process: Process, database: Database, server: Server) -> MatchingWorker:
    client = Client(process, server)
    redis = cast("Any", client)
    session = cast("Any", SimulatedSession(client))
    stream = CommandStream(redis, session, 0)
    publisher = Publisher(redis, session, cast("Any", Layer()), partition=0, owner=process.name)
    store = cast("PartitionStore", SimulatedStore(process, database))
    worker = MatchingWorker(
        0,
        owner=process.name,
        store=store,
        stream=stream,
        publisher=publisher,
        life_watch=LifeWatch(session, 0),
    )
    worker.runner.clock = Clock(process)
    return worker


class Link:
    """`orders.gateway.link.RedisLink` on the model."""

    def __init__(self, process: Process, server: Server) -> None:
        self._client = Client(process, server)

    def admission(self, partition: int) -> SimulatedAdmission:
        return SimulatedAdmission(self._client, partition)

    def replies(
        self,
        process_id: str,
        on_reply: Callable[[messages.Reply], None],
        on_lost: Callable[[], Awaitable[None]],
    ) -> SimulatedReplies:
        return SimulatedReplies(self._client, messages.reply_channel(process_id), on_reply, on_lost)

    async def aclose(self) -> None:
        """Do nothing: the model has no connection to close."""


class Reads:
    """The desk's database reads, on the model."""

    def __init__(self, process: Process, database: Database) -> None:
        self._process = process
        self._database = database

    async def __call__(self, selector: Any, key: Any) -> Any:
        await self._process.step()
        if not self._database.up:
            raise Unavailable
        found = self._find(selector, key)
        await self._process.step()
        return found

    def _find(self, selector: Any, key: Any) -> Any:
        orders, keys = self._database.orders, self._database.keys
        if selector is find_order_rows_by_key:
            return {one: copy_of(orders[keys[one]]) for one in key if one in keys}
        if selector is find_order_rows:
            return {one: copy_of(orders[one]) for one in key if one in orders}
        row = orders.get(str(key))
        if row is None or selector is find_order_row:
            return row and copy_of(row)
        assert selector is find_order
        return document(row)


class Instruments:
    """`InstrumentDirectory` on the model. At times hints lead to a wrong book, or to none."""

    def __init__(self, process: Process, database: Database) -> None:
        self._process = process
        self._instruments = database.instruments

    async def all(self) -> dict[str, TradedInstrument]:
        return self._instruments

    async def get(self, symbol: str) -> TradedInstrument:
        return self._instruments[symbol]

    async def with_hint(self, hint: int) -> list[TradedInstrument]:
        instruments = list(self._instruments.values())
        chosen = self._process.choose(2 * HINTS_ASTRAY)
        if chosen == 0:
            return []
        if chosen == 1:
            return [one for one in instruments if instrument_hint(one.instrument_id) != hint]
        return [one for one in instruments if instrument_hint(one.instrument_id) == hint]


def copy_of(row: Row) -> Row:
    """Return a copy of a row, whose id is a UUID as in the Django model."""
    return replace(row, order_id=cast("str", UUID(row.order_id)))


def document(row: Row) -> OrderDocument:
    """Return an order's document as orders.selectors makes it."""
    fills = []
    for trade in row.trades:
        event = trade.event
        fill = FillDocument(
            trade_id=trade.trade_id,
            price=GRID.price.number(event.price_ticks),
            quantity=GRID.quantity.number(event.quantity_lots),
            side=SIDE_NAMES[event.taker.side],
            liquidity="taker" if event.taker.order_id == row.order_id else "maker",
            timestamp=time_text(row.updated_at),
        )
        fills.append(fill)
    return OrderDocument(**stored_state(row, row.instrument.symbol), trades=fills)


class ApiProcess:
    """A gateway and a desk in a process."""

    def __init__(
        self, process: Process, database: Database, server: Server, *, appender: type[Appender]
    ) -> None:
        self.process = process
        gateway = OrderGateway(cast("RedisLink", Link(process, server)), make_appender=appender)
        read = cast("Any", Reads(process, database))
        reads = DeskReads(
            orders=read,
            replays=read,
            cancelled=read,
            refused_orders=PacedRows(read, find_order_rows_by_key),
            refused_cancels=PacedRows(read, find_order_rows),
        )
        self.desk = OrderDesk(gateway, reads, cast("Any", Instruments(process, database)))

    async def serve(self, request: Callable[[], Awaitable[Any]]) -> Any:
        """Return the answer that the client gets. Raises ProcessDied if the process dies before."""
        await self.process.step()
        answer = await request()
        await self.process.step()
        return answer
