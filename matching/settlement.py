"""Settlement: everything a batch did, and the position it reached, in one transaction.

New orders and trades go in by COPY, changed orders by one UPDATE, candles and book sequences by upsert. The
checkpoint's compare-and-set comes first: a worker that has lost its lease changes nothing.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from django.db import connection, transaction

from matching import checkpoint
from matching.batch import SIDE_NAMES, Batch, Key, NewOrder, OrderChange
from matching.checkpoint import Lease


class SettlementMismatch(Exception):
    """The database does not have what the books say; the books must be loaded anew."""


class ChangedOrder(NamedTuple):
    """An order of an earlier batch, as the database has it after this one."""

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
    sequence: int


_FIND_KEYS = """
SELECT client_id, idempotency_key, order_id::text FROM orders_order
WHERE (client_id, idempotency_key) IN (SELECT * FROM unnest(%s::text[], %s::text[]))
"""

_COPY_ORDERS = """
COPY orders_order (order_id, client_id, instrument_id, side, type, price, quantity, filled_quantity,
  filled_notional, status, reason, idempotency_key, priority, sequence, created_at, updated_at) FROM STDIN
"""

_COPY_TRADES = """
COPY marketdata_trade (trade_id, instrument_id, sequence, price, quantity, taker_side, maker_order_id,
  taker_order_id, timestamp) FROM STDIN
"""

_CHANGE_ORDERS = """
UPDATE orders_order AS stored
SET filled_quantity = stored.filled_quantity + change.filled_quantity,
    filled_notional = stored.filled_notional + change.filled_notional,
    status = change.status, reason = change.reason, sequence = change.sequence, updated_at = %(now)s
FROM unnest(%(order_ids)s::uuid[], %(quantities)s::numeric[], %(notionals)s::numeric[], %(statuses)s::text[],
            %(reasons)s::text[], %(sequences)s::bigint[])
     AS change (order_id, filled_quantity, filled_notional, status, reason, sequence)
WHERE stored.order_id = change.order_id
RETURNING stored.order_id::text, stored.client_id, stored.instrument_id, stored.side, stored.type, stored.price,
  stored.quantity, stored.filled_quantity, stored.filled_notional, stored.status, stored.reason,
  stored.idempotency_key, stored.created_at, stored.sequence
"""

_ADD_CANDLES = """
INSERT INTO marketdata_candle AS candle
  (instrument_id, time, open, high, low, close, volume, notional, trade_count)
VALUES (%s, date_trunc('minute', %s::timestamptz), %s::numeric, %s::numeric, %s::numeric, %s::numeric,
        %s::numeric, %s::numeric, %s)
ON CONFLICT (instrument_id, time) DO UPDATE
SET high = greatest(candle.high, excluded.high), low = least(candle.low, excluded.low), close = excluded.close,
    volume = candle.volume + excluded.volume, notional = candle.notional + excluded.notional,
    trade_count = candle.trade_count + excluded.trade_count
"""

_SET_SEQUENCES = """
INSERT INTO marketdata_booksequence (instrument_id, sequence) VALUES (%s, %s)
ON CONFLICT (instrument_id) DO UPDATE SET sequence = excluded.sequence
"""


def find_keys(keys: Sequence[Key]) -> dict[Key, str]:
    """The ids of the orders that have these idempotency keys already."""
    if not keys:
        return {}
    client_ids, idempotency_keys = zip(*keys, strict=True)
    with connection.cursor() as cursor:
        cursor.execute(_FIND_KEYS, [list(client_ids), list(idempotency_keys)])
        return {(client_id, key): order_id for client_id, key, order_id in cursor.fetchall()}


def settle(batch: Batch, lease: Lease, position: str) -> tuple[Lease, list[ChangedOrder]]:
    """Commit a batch.

    Raises LeaseLost, SettlementMismatch and django.db.Error; after an OperationalError or InterfaceError during the
    commit its outcome is unknown.
    """
    with transaction.atomic():
        advanced = checkpoint.advance(lease, position)
        with connection.cursor() as cursor:
            if batch.orders:
                _copy(cursor, _COPY_ORDERS, (_order_row(order, batch.now) for order in batch.orders.values()))
            if batch.trades:
                _copy(cursor, _COPY_TRADES, _trade_rows(batch))
            changed = _change_orders(cursor, batch.changes, batch.now) if batch.changes else []
            if batch.candles:
                cursor.executemany(_ADD_CANDLES, list(_candle_rows(batch)))
            if batch.books:
                sequences = [(book.instrument.instrument_id, book.sequence) for book in batch.books.values()]
                cursor.executemany(_SET_SEQUENCES, sequences)
    return advanced, changed


def _copy(cursor: Any, statement: str, rows: Iterable[tuple[Any, ...]]) -> None:
    with cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row(row)


def _order_row(order: NewOrder, now: datetime) -> tuple[Any, ...]:
    command, grid = order.command, order.instrument.grid
    return (
        command.order_id,
        command.client_id,
        order.instrument.instrument_id,
        command.side,
        command.type,
        grid.price.text(command.price_ticks) if command.price_ticks else None,
        grid.quantity.text(command.quantity_lots),
        grid.quantity.text(order.filled_lots),
        grid.notional_text(order.filled_notional),
        order.status.value,
        order.reason.value if order.reason is not None else None,
        command.idempotency_key,
        order.priority,
        order.sequence,
        now,
        now,
    )


def _trade_rows(batch: Batch) -> Iterable[tuple[Any, ...]]:
    for trade in batch.trades:
        event, grid = trade.event, trade.instrument.grid
        yield (
            trade.trade_id,
            trade.instrument.instrument_id,
            event.sequence,
            grid.price.text(event.price_ticks),
            grid.quantity.text(event.quantity_lots),
            SIDE_NAMES[event.taker_side],
            event.maker_order_id,
            event.taker_order_id,
            batch.now,
        )


def _change_orders(cursor: Any, changes: dict[str, OrderChange], now: datetime) -> list[ChangedOrder]:
    grids = [change.instrument.grid for change in changes.values()]
    cursor.execute(
        _CHANGE_ORDERS,
        {
            "now": now,
            "order_ids": list(changes),
            "quantities": [
                grid.quantity.text(change.filled_lots)
                for grid, change in zip(grids, changes.values(), strict=True)
            ],
            "notionals": [
                grid.notional_text(change.filled_notional)
                for grid, change in zip(grids, changes.values(), strict=True)
            ],
            "statuses": [change.status.value for change in changes.values()],
            "reasons": [change.reason.value if change.reason else None for change in changes.values()],
            "sequences": [change.sequence for change in changes.values()],
        },
    )
    changed = [ChangedOrder(*row) for row in cursor.fetchall()]
    if len(changed) != len(changes):
        missing = sorted(set(changes) - {order.order_id for order in changed})
        raise SettlementMismatch(f"the database does not have the resting orders {missing[:10]}")
    return changed


def _candle_rows(batch: Batch) -> Iterable[tuple[Any, ...]]:
    for instrument_id, candle in batch.candles.items():
        price, quantity = candle.grid.price, candle.grid.quantity
        yield (
            instrument_id,
            batch.now,
            price.text(candle.open_ticks),
            price.text(candle.high_ticks),
            price.text(candle.low_ticks),
            price.text(candle.close_ticks),
            quantity.text(candle.volume_lots),
            candle.grid.notional_text(candle.notional),
            candle.trade_count,
        )
