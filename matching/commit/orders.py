"""The commit's part for the table of orders: inserts new orders, changes earlier ones.

An order of an earlier batch is changed by difference, so the worker need not keep it in memory.
"""

from datetime import datetime
from decimal import Decimal

import msgspec

from instruments.choices import SelfTradePrevention
from matching.batch.batch import Batch, Key
from matching.batch.effects import NewOrder, OrderChange
from matching.commit.rows import Row

INSERT = """
  INSERT INTO orders_order (order_id, client_id, instrument_id, side, type, price, quantity, filled_quantity,
    filled_notional, status, reason, idempotency_key, terms, priority, sequence, time_in_force,
    prevented_quantity, post_only, self_trade_prevention, expires_at, trigger_price, triggered_at,
    created_at, updated_at)
  SELECT order_id, client_id, instrument_id, side, type, price, quantity, filled_quantity, filled_notional, status,
    reason, idempotency_key, terms, priority, sequence, time_in_force, coalesce(prevented_quantity, 0),
    coalesce(post_only, false), coalesce(self_trade_prevention, 'none'), expires_at, trigger_price, triggered_at,
    %(now)s::timestamptz, %(now)s::timestamptz
  FROM json_to_recordset(%(orders)s) AS placed (
    order_id uuid, client_id text, instrument_id bigint, side text, type text, price numeric, quantity numeric,
    filled_quantity numeric, filled_notional numeric, status text, reason text, idempotency_key text,
    terms bigint, priority bigint, sequence bigint, time_in_force text, prevented_quantity numeric,
    post_only boolean, self_trade_prevention text, expires_at timestamptz, trigger_price numeric,
    triggered_at timestamptz)
  RETURNING 1
"""
# Only the database knows whether an order has fills and prevented matches of earlier batches. So it
# decides between open and partially filled, and between filled and cancelled: see OrderChange.
UPDATE = """
  UPDATE orders_order AS stored
  SET filled_quantity = stored.filled_quantity + change.filled_quantity,
      filled_notional = stored.filled_notional + change.filled_notional,
      prevented_quantity = stored.prevented_quantity + coalesce(change.prevented_quantity, 0),
      price = coalesce(change.price, stored.price), quantity = coalesce(change.quantity, stored.quantity),
      trigger_price = coalesce(change.trigger_price, stored.trigger_price),
      expires_at = coalesce(change.expires_at, stored.expires_at),
      triggered_at = coalesce(change.triggered_at, stored.triggered_at),
      priority = coalesce(change.priority, stored.priority),
      status = CASE
        WHEN change.status IS NULL AND stored.filled_quantity + change.filled_quantity > 0 THEN 'partially_filled'
        WHEN change.status IS NULL THEN 'open'
        WHEN change.status = 'filled' AND stored.prevented_quantity + coalesce(change.prevented_quantity, 0) > 0
          THEN 'cancelled'
        ELSE change.status END,
      reason = CASE
        WHEN change.status = 'filled' AND stored.prevented_quantity + coalesce(change.prevented_quantity, 0) > 0
          THEN 'self_trade'
        ELSE change.reason END,
      sequence = change.sequence, updated_at = %(now)s::timestamptz
  FROM json_to_recordset(%(changes)s) AS change (order_id uuid, filled_quantity numeric, filled_notional numeric,
    status text, reason text, sequence bigint, prevented_quantity numeric, price numeric, quantity numeric,
    trigger_price numeric, expires_at timestamptz, triggered_at timestamptz, priority bigint)
  WHERE stored.order_id = change.order_id
  RETURNING stored.*
"""
# A row that `UPDATE` returns, as the array that ChangedOrder decodes.
CHANGED = """json_build_array(order_id, client_id, instrument_id, side, type, price, quantity,
    filled_quantity, filled_notional, status, reason, idempotency_key, created_at, updated_at, sequence,
    time_in_force, expires_at, post_only, self_trade_prevention, prevented_quantity, trigger_price, triggered_at)"""
_NO_PREVENTION = SelfTradePrevention.NONE.value
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
    time_in_force: str
    expires_at: datetime | None
    post_only: bool
    self_trade_prevention: str
    prevented_quantity: Decimal
    trigger_price: Decimal | None
    triggered_at: datetime | None


def new_rows(batch: Batch) -> list[Row]:
    """Return the rows to insert.

    Partitions that insert the same keys wait for each other. Sorting by key avoids deadlocks.
    """
    return [_new_row(order, batch.now) for order in sorted(batch.orders.values(), key=_idempotency_key)]


def _idempotency_key(order: NewOrder) -> Key:
    return order.command.client_id, order.command.idempotency_key or ""


def _new_row(order: NewOrder, now: datetime) -> Row:
    """Return an order's row. What most orders do not have is left out, to be NULL or a default."""
    command, grid = order.command, order.instrument.grid
    row: dict[str, object] = {
        "order_id": command.order_id,
        "client_id": command.client_id,
        "instrument_id": order.instrument.instrument_id,
        "side": command.side,
        "type": command.order_type,
        "price": grid.price.text(order.price_ticks) if order.price_ticks else None,
        "quantity": grid.quantity.text(order.quantity_lots),
        "filled_quantity": grid.quantity.text(order.filled_lots) if order.filled_lots else "0",
        "filled_notional": grid.notional_text(order.filled_notional) if order.filled_lots else "0",
        "status": order.status,
        "reason": order.reason,
        "idempotency_key": command.idempotency_key,
        "terms": command.terms,
        "priority": order.priority,
        "sequence": order.sequence,
        "time_in_force": command.time_in_force,
    }
    if order.prevented_lots:
        row["prevented_quantity"] = grid.quantity.text(order.prevented_lots)
    if command.post_only:
        row["post_only"] = True
    if command.self_trade_prevention != _NO_PREVENTION:
        row["self_trade_prevention"] = command.self_trade_prevention
    if order.expires_at is not None:
        row["expires_at"] = order.expires_at
    if order.trigger_price_ticks:
        row["trigger_price"] = grid.price.text(order.trigger_price_ticks)
    if order.is_triggered:
        row["triggered_at"] = now
    return row


def change_rows(batch: Batch) -> list[Row]:
    """Return the differences to add to orders of earlier batches."""
    return [_change_row(order_id, change, batch.now) for order_id, change in batch.changes.items()]


def _change_row(order_id: str, change: OrderChange, now: datetime) -> Row:
    """Return an order's difference. What stays as it is is left out."""
    grid = change.instrument.grid
    row: dict[str, object] = {
        "order_id": order_id,
        "filled_quantity": grid.quantity.text(change.filled_lots),
        "filled_notional": grid.notional_text(change.filled_notional),
        "status": change.status,
        "reason": change.reason,
        "sequence": change.sequence,
    }
    if change.prevented_lots:
        row["prevented_quantity"] = grid.quantity.text(change.prevented_lots)
    if change.price_ticks:
        row["price"] = grid.price.text(change.price_ticks)
    if change.quantity_lots is not None:
        row["quantity"] = grid.quantity.text(change.quantity_lots)
    if change.trigger_price_ticks:
        row["trigger_price"] = grid.price.text(change.trigger_price_ticks)
    if change.expires_at is not None:
        row["expires_at"] = change.expires_at
    if change.is_triggered:
        row["triggered_at"] = now
    if change.priority is not None:
        row["priority"] = change.priority
    return row
