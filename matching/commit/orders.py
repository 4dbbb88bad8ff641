"""The commit's part for the table of orders: inserts new orders, changes earlier ones.

An order of an earlier batch is changed by difference, so the worker need not keep it in memory.
"""

from datetime import datetime
from decimal import Decimal

import msgspec

from matching.batch.batch import Batch, Key
from matching.batch.effects import NewOrder
from matching.commit.rows import Row

INSERT = """
  INSERT INTO orders_order (order_id, client_id, instrument_id, side, type, price, quantity, filled_quantity,
    filled_notional, status, reason, idempotency_key, terms, priority, sequence, created_at, updated_at)
  SELECT placed.*, %(now)s::timestamptz, %(now)s::timestamptz FROM json_to_recordset(%(orders)s) AS placed (
    order_id uuid, client_id text, instrument_id bigint, side text, type text, price numeric, quantity numeric,
    filled_quantity numeric, filled_notional numeric, status text, reason text, idempotency_key text,
    terms bigint, priority bigint, sequence bigint)
  RETURNING 1
"""
UPDATE = """
  UPDATE orders_order AS stored
  SET filled_quantity = stored.filled_quantity + change.filled_quantity,
      filled_notional = stored.filled_notional + change.filled_notional,
      status = change.status, reason = change.reason, sequence = change.sequence, updated_at = %(now)s::timestamptz
  FROM json_to_recordset(%(changes)s) AS change (order_id uuid, filled_quantity numeric, filled_notional numeric,
    status text, reason text, sequence bigint)
  WHERE stored.order_id = change.order_id
  RETURNING stored.*
"""
# A row that `UPDATE` returns, as the array that ChangedOrder decodes.
CHANGED = """json_build_array(order_id, client_id, instrument_id, side, type, price, quantity,
    filled_quantity, filled_notional, status, reason, idempotency_key, created_at, updated_at, sequence)"""
FIND = "SELECT order_id::text FROM orders_order WHERE order_id = ANY(%s::uuid[])"


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


def new_rows(batch: Batch) -> list[Row]:
    """Return the rows to insert.

    Partitions that insert the same keys wait for each other. Sorting by key avoids deadlocks.
    """
    return [_new_row(order) for order in sorted(batch.orders.values(), key=_idempotency_key)]


def _idempotency_key(order: NewOrder) -> Key:
    return order.command.client_id, order.command.idempotency_key or ""


def _new_row(order: NewOrder) -> Row:
    command, grid = order.command, order.instrument.grid
    return {
        "order_id": command.order_id,
        "client_id": command.client_id,
        "instrument_id": order.instrument.instrument_id,
        "side": command.side,
        "type": command.order_type,
        "price": grid.price.text(command.price_ticks) if command.price_ticks else None,
        "quantity": grid.quantity.text(command.quantity_lots),
        "filled_quantity": grid.quantity.text(order.filled_lots) if order.filled_lots else "0",
        "filled_notional": grid.notional_text(order.filled_notional) if order.filled_lots else "0",
        "status": order.status,
        "reason": order.reason,
        "idempotency_key": command.idempotency_key,
        "terms": command.terms,
        "priority": order.priority,
        "sequence": order.sequence,
    }


def change_rows(batch: Batch) -> list[Row]:
    """Return the differences to add to orders of earlier batches."""
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
