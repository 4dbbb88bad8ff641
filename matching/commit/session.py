"""Settlement: commits a batch and its stream position in one statement, which is one transaction.

The rows of each table are sent as one JSON array, which PostgreSQL expands. This is faster than
COPY, which needs extra round trips, and takes half the processor time in this process
(docs/adr/0010-settlement-statements.md has the figures). All parts of the statement see the
database as it was before the statement, so no part may touch a row that another part writes: an
order that is placed in a batch is not also changed in it.

The checkpoint's compare-and-set is a part of the statement: a worker that has lost its lease
changes nothing.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple, Self

import msgspec
import psycopg
from django.db import DEFAULT_DB_ALIAS, DataError, IntegrityError, connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg.pq.abc import PGresult

from marketdata.messages import Minute
from matching.batch.batch import Batch, Key
from matching.batch.effects import SIDE_NAMES, NewOrder
from matching.commit import checkpoint
from matching.commit.checkpoint import Lease, LeaseLost
from matching.commit.placement import move_session_to_own_processors
from matching.commit.prepared import PreparedStatement, text_array
from orders.keys import FOUND_BY_KEY


class SettlementMismatch(Exception):
    """The database does not have the resting orders of the books. Load the books again."""


class KeysTaken(Exception):
    """Other orders have idempotency keys of this batch. Nothing of the batch was written."""


class ChangedOrder(msgspec.Struct, array_like=True, frozen=True):
    """An order of an earlier batch, as stored after this batch."""

    order_id: str
    client_id: str
    instrument_id: int
    side: str
    type: str
    price: Decimal | None
    quantity: Decimal
    filled_quantity: Decimal
    filled_notional: Decimal
    status: str
    reason: str | None
    idempotency_key: str | None
    created_at: datetime
    updated_at: datetime
    sequence: int


class Settled(NamedTuple):
    """Rows after a batch that the database can show, but the books in memory can't."""

    changed: list[ChangedOrder]
    minutes: dict[int, Minute]  # whole candles of the batch's minute, by instrument id


_FIND_KEYS = PreparedStatement(
    "find_keys",
    f"SELECT found.client_id, found.idempotency_key, found.order_id {FOUND_BY_KEY}",
    *("client_ids", "keys"),
)

# The statement divides by zero, so that nothing is written, if the lease was lost or a resting
# order is missing. The checkpoint comes first, so that a worker without a lease holds no other
# row's lock while it waits for the checkpoint's. The new orders come next, so that a taken key ends
# the statement before the rest is done.
_SETTLE = PreparedStatement(
    "settle",
    f"""
WITH advanced AS ({checkpoint.ADVANCE} RETURNING position
), placed AS (
  INSERT INTO orders_order (order_id, client_id, instrument_id, side, type, price, quantity, filled_quantity,
    filled_notional, status, reason, idempotency_key, priority, sequence, created_at, updated_at)
  SELECT placed.*, %(now)s::timestamptz, %(now)s::timestamptz FROM json_to_recordset(%(orders)s) AS placed (
    order_id uuid, client_id text, instrument_id bigint, side text, type text, price numeric, quantity numeric,
    filled_quantity numeric, filled_notional numeric, status text, reason text, idempotency_key text,
    priority bigint, sequence bigint)
  RETURNING 1
), traded AS (
  INSERT INTO orders_trade (trade_id, instrument_id, sequence, price, quantity, taker_side, maker_order_id,
    taker_order_id, timestamp)
  SELECT trade.*, %(now)s::timestamptz FROM json_to_recordset(%(trades)s) AS trade (
    trade_id uuid, instrument_id bigint, sequence bigint, price numeric, quantity numeric, taker_side text,
    maker_order_id uuid, taker_order_id uuid)
), minutes AS (
  INSERT INTO marketdata_candle AS candle
    (time, instrument_id, open, high, low, close, volume, notional, trade_count)
  SELECT date_trunc('minute', %(now)s::timestamptz), added.* FROM json_to_recordset(%(candles)s) AS added (
    instrument_id bigint, open numeric, high numeric, low numeric, close numeric, volume numeric,
    notional numeric, trade_count bigint)
  ON CONFLICT (instrument_id, time) DO UPDATE
  SET high = greatest(candle.high, excluded.high), low = least(candle.low, excluded.low), close = excluded.close,
      volume = candle.volume + excluded.volume, notional = candle.notional + excluded.notional,
      trade_count = candle.trade_count + excluded.trade_count
  RETURNING *
), sequences AS (
  INSERT INTO marketdata_booksequence (instrument_id, sequence)
  SELECT * FROM json_to_recordset(%(books)s) AS book (instrument_id bigint, sequence bigint)
  ON CONFLICT (instrument_id) DO UPDATE SET sequence = excluded.sequence
), changed AS (
  UPDATE orders_order AS stored
  SET filled_quantity = stored.filled_quantity + change.filled_quantity,
      filled_notional = stored.filled_notional + change.filled_notional,
      status = change.status, reason = change.reason, sequence = change.sequence, updated_at = %(now)s::timestamptz
  FROM json_to_recordset(%(changes)s) AS change (order_id uuid, filled_quantity numeric, filled_notional numeric,
    status text, reason text, sequence bigint)
  WHERE stored.order_id = change.order_id
  RETURNING stored.*
)
SELECT 1 / (SELECT count(*) FROM advanced), (SELECT count(*) FROM placed),
  (SELECT json_agg(json_build_array(order_id, client_id, instrument_id, side, type, price, quantity,
    filled_quantity, filled_notional, status, reason, idempotency_key, created_at, updated_at, sequence))
    FROM changed)::text,
  (SELECT json_object_agg(instrument_id,
    json_build_array(time, open, high, low, close, volume, notional, trade_count)) FROM minutes)::text,
  1 / ((SELECT count(*) FROM changed) = %(changes_count)s)::integer
""",  # noqa: S608 - joined of statements of our own
    *("partition", "epoch", "position", "next", "lease", "now"),
    *("orders", "trades", "candles", "books", "changes", "changes_count"),
)

_decode_changed = msgspec.json.Decoder(list[ChangedOrder]).decode
_decode_minutes = msgspec.json.Decoder(dict[int, Minute]).decode

_FIND_ORDERS = "SELECT order_id::text FROM orders_order WHERE order_id = ANY(%s::uuid[])"

# The statements here find rows by a key. A plan that was made when the table was new, or had no
# statistics yet, would scan the whole table instead, and would be kept as the table grows.
# PostgreSQL prefers the shallower of two indexes. Near-zero page costs make it compare the matched
# rows only. It also may plan a statement again for each execution, because it sees how few keys
# there are. That takes longer than finding the rows, so it is switched off.
_PLAN_BY_INDEX = """
SELECT set_config('enable_seqscan', 'off', false), set_config('enable_hashjoin', 'off', false),
       set_config('enable_mergejoin', 'off', false), set_config('cpu_operator_cost', '0.00001', false),
       set_config('random_page_cost', '0.00001', false), set_config('seq_page_cost', '0.00001', false),
       set_config('plan_cache_mode', 'force_generic_plan', false)
"""

Row = Mapping[str, object]


class Settlement:
    """Commits batches on one of Django's connections.

    The connection is opened by the thread that it belongs to. The methods use psycopg's connection
    inside it, which belongs to no thread. They may be called from any thread, but only by one at a
    time.
    """

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self._connection = connection
        self._prepared: psycopg.Connection[Any] | None = None  # the one that knows the statements

    @classmethod
    def of_this_thread(cls) -> Self:
        """Return a settlement on this thread's connection, which is opened.

        Raises OperationalError.
        """
        connection.ensure_connection()
        return cls(connections[DEFAULT_DB_ALIAS])

    def forget_plans(self) -> None:
        """Have the statements planned again for the tables as they are now. Call it as tables grow.

        In a small table all indexes cost the same. So PostgreSQL chose to look keys up among all
        orders of a client, and kept that plan as the table grew, until statistics were gathered.
        """
        with self._driver() as driver:
            driver.execute("DISCARD PLANS")

    def find_keys(self, keys: Sequence[Key]) -> dict[Key, str]:
        """Return the ids of the orders that have these idempotency keys already."""
        if not keys:
            return {}
        wanted = {
            "client_ids": text_array(client_id for client_id, _ in keys),
            "keys": text_array(key for _, key in keys),
        }
        with self._driver() as driver:
            found = _FIND_KEYS.run(driver, wanted)
        rows = (tuple(_text(found, row, column) for column in range(3)) for row in range(found.ntuples))
        return {(client_id, key): order_id for client_id, key, order_id in rows}

    def settle(self, batch: Batch, lease: Lease, position: str) -> tuple[Lease, Settled]:
        """Commit a batch and the stream position after it.

        Raises LeaseLost, KeysTaken, SettlementMismatch and django.db.Error. After an
        OperationalError or InterfaceError it is not known whether the batch was committed.
        """
        try:
            with self._driver() as driver:
                found = _SETTLE.run(driver, _parameters(batch, lease, position))
        except DataError as error:
            if isinstance(error.__cause__, psycopg.errors.DivisionByZero):
                raise self._find_cause(batch, lease) from None
            raise
        except IntegrityError as error:
            cause = error.__cause__
            if isinstance(cause, psycopg.Error) and cause.diag.constraint_name == "order_idempotency_key":
                raise KeysTaken from None
            raise
        changed, minutes = found.get_value(0, 2), found.get_value(0, 3)
        return lease._replace(position=position), Settled(
            _decode_changed(changed) if changed else [], _decode_minutes(minutes) if minutes else {}
        )

    def _find_cause(self, batch: Batch, lease: Lease) -> LeaseLost | SettlementMismatch:
        """Return the error that made the statement divide by zero."""
        with self._driver() as driver:
            held = driver.execute(checkpoint.IS_HELD, checkpoint.lease_parameters(lease)).fetchone()
            found = driver.execute(_FIND_ORDERS, [list(batch.changes)]).fetchall()
        if not held:
            return LeaseLost(str(lease))
        missing = sorted(batch.changes.keys() - {order_id for (order_id,) in found})
        return SettlementMismatch(f"the database does not have the resting orders {missing[:10]}")

    @contextlib.contextmanager
    def _driver(self) -> Iterator[psycopg.Connection[Any]]:
        """Yield psycopg's own connection, with the statements prepared.

        Enter it outside a transaction: a rollback would also undo the settings.
        """
        driver: psycopg.Connection[Any] | None = self._connection.connection
        with self._connection.wrap_database_errors:
            if driver is None:
                raise psycopg.InterfaceError("the connection is closed")
            try:
                if driver is not self._prepared:
                    driver.execute("DEALLOCATE ALL")  # an earlier attempt may have failed halfway
                    driver.execute(_PLAN_BY_INDEX)
                    _FIND_KEYS.prepare(driver)
                    _SETTLE.prepare(driver)
                    move_session_to_own_processors(driver)
                    self._prepared = driver
                yield driver
            except OSError as error:  # Callers would take an OSError for an outage of Redis.
                raise psycopg.OperationalError(str(error)) from error


_json = msgspec.json.Encoder().encode


def _text(result: PGresult, row: int, column: int) -> str:
    return (result.get_value(row, column) or b"").decode()


def _parameters(batch: Batch, lease: Lease, position: str) -> dict[str, bytes]:
    advance = checkpoint.advance_parameters(lease, position)
    return {
        **{name: str(value).encode() for name, value in advance.items()},
        "now": batch.now.isoformat().encode(),
        "orders": _json([_order_row(order) for order in sorted(batch.orders.values(), key=_sort_key)]),
        "trades": _json(_trade_rows(batch)),
        "candles": _json(_candle_rows(batch)),
        "books": _json(_sequence_rows(batch)),
        "changes": _json(_change_rows(batch)),
        "changes_count": b"%d" % len(batch.changes),
    }


def _sort_key(order: NewOrder) -> Key:
    """Return the sort key of a new order.

    Partitions that insert the same keys wait for each other. The common order avoids deadlocks.
    """
    return order.command.client_id, order.command.idempotency_key or ""


def _order_row(order: NewOrder) -> Row:
    command, grid = order.command, order.instrument.grid
    return {
        "order_id": command.order_id,
        "client_id": command.client_id,
        "instrument_id": order.instrument.instrument_id,
        "side": command.side,
        "type": command.type,
        "price": grid.price.text(command.price_ticks) if command.price_ticks else None,
        "quantity": grid.quantity.text(command.quantity_lots),
        "filled_quantity": grid.quantity.text(order.filled_lots),
        "filled_notional": grid.notional_text(order.filled_notional),
        "status": order.status,
        "reason": order.reason,
        "idempotency_key": command.idempotency_key,
        "priority": order.priority,
        "sequence": order.sequence,
    }


def _trade_rows(batch: Batch) -> list[Row]:
    return [
        {
            "trade_id": trade.trade_id,
            "instrument_id": trade.instrument.instrument_id,
            "sequence": trade.event.sequence,
            "price": trade.instrument.grid.price.text(trade.event.price_ticks),
            "quantity": trade.instrument.grid.quantity.text(trade.event.quantity_lots),
            "taker_side": SIDE_NAMES[trade.event.taker_side],
            "maker_order_id": trade.event.maker_order_id,
            "taker_order_id": trade.event.taker_order_id,
        }
        for trade in batch.trades
    ]


def _change_rows(batch: Batch) -> list[Row]:
    return [
        {
            "order_id": order_id,
            "filled_quantity": change.instrument.grid.quantity.text(change.filled_lots),
            "filled_notional": change.instrument.grid.notional_text(change.filled_notional),
            "status": change.status,
            "reason": change.reason,
            "sequence": change.sequence,
        }
        for order_id, change in batch.changes.items()
    ]


def _candle_rows(batch: Batch) -> list[Row]:
    return [
        {
            "instrument_id": instrument_id,
            "open": candle.grid.price.text(candle.open_ticks),
            "high": candle.grid.price.text(candle.high_ticks),
            "low": candle.grid.price.text(candle.low_ticks),
            "close": candle.grid.price.text(candle.close_ticks),
            "volume": candle.grid.quantity.text(candle.volume_lots),
            "notional": candle.grid.notional_text(candle.notional),
            "trade_count": candle.trade_count,
        }
        for instrument_id, candle in batch.candles.items()
    ]


def _sequence_rows(batch: Batch) -> list[Row]:
    return [
        {"instrument_id": book.instrument.instrument_id, "sequence": book.sequence}
        for book in batch.books.values()
    ]
