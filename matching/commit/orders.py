"""The commit's part for the table of orders: inserts new orders, changes earlier ones.

An order of an earlier batch is changed by difference, so the worker need not keep it in memory.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal

import msgspec

from instruments.choices import SelfTradePrevention
from matching.batch.batch import Batch, Key
from matching.batch.effects import NewOrder, OrderChange
from matching.commit.rows import Row

_COLUMNS = (
    *("order_id uuid", "client_id text", "instrument_id bigint", "side text", "type text", "price numeric"),
    *("quantity numeric", "filled_quantity numeric", "filled_notional numeric", "status text", "reason text"),
    *("idempotency_key text", "terms bigint", "priority bigint", "sequence bigint", "time_in_force text"),
)
# The columns that plain orders leave empty or at their default, and each one's value for an order.
_RARE_COLUMNS = {
    "prevented_quantity numeric": "coalesce(prevented_quantity, 0)",
    "post_only boolean": "coalesce(post_only, false)",
    "self_trade_prevention text": "coalesce(self_trade_prevention, 'none')",
    "expires_at timestamptz": "expires_at",
    "trigger_price numeric": "trigger_price",
    "triggered_at timestamptz": "triggered_at",
}
_CHANGES = (
    *("order_id uuid", "filled_quantity numeric", "filled_notional numeric", "status text", "reason text"),
    "sequence bigint",
)
_RARE_CHANGES = {
    "prevented_quantity numeric": "stored.prevented_quantity + coalesce(change.prevented_quantity, 0)",
    "price numeric": "coalesce(change.price, stored.price)",
    "quantity numeric": "coalesce(change.quantity, stored.quantity)",
    "trigger_price numeric": "coalesce(change.trigger_price, stored.trigger_price)",
    "expires_at timestamptz": "coalesce(change.expires_at, stored.expires_at)",
    "triggered_at timestamptz": "coalesce(change.triggered_at, stored.triggered_at)",
    "priority bigint": "coalesce(change.priority, stored.priority)",
}


def _names(columns: Iterable[str]) -> str:
    return ", ".join(column.partition(" ")[0] for column in columns)


def _insert(rare: Mapping[str, str]) -> str:
    # A column whose default is not NULL needs a value in any case.
    filled = rare or {"prevented_quantity": "0", "post_only": "false", "self_trade_prevention": "'none'"}
    return f"""
  INSERT INTO orders_order ({_names(_COLUMNS)}, {_names(filled)}, created_at, updated_at)
  SELECT {_names(_COLUMNS)}, {", ".join(filled.values())}, %(now)s::timestamptz, %(now)s::timestamptz
  FROM json_to_recordset(%(orders)s) AS placed ({", ".join((*_COLUMNS, *rare))})
  RETURNING 1
"""  # noqa: S608 - joined from constants only


# Only the database knows whether an order has fills and prevented matches of earlier batches. So it
# decides between open and partially filled, and between filled and cancelled: see OrderChange.
def _update(rare: Mapping[str, str]) -> str:
    prevented = rare.get("prevented_quantity numeric", "stored.prevented_quantity")
    changed = "".join(f"{_names([column])} = {value}, " for column, value in rare.items())
    return f"""
  UPDATE orders_order AS stored
  SET filled_quantity = stored.filled_quantity + change.filled_quantity,
      filled_notional = stored.filled_notional + change.filled_notional, {changed}
      status = CASE
        WHEN change.status IS NULL AND stored.filled_quantity + change.filled_quantity > 0 THEN 'partially_filled'
        WHEN change.status IS NULL THEN 'open'
        WHEN change.status = 'filled' AND {prevented} > 0 THEN 'cancelled'
        ELSE change.status END,
      reason = CASE WHEN change.status = 'filled' AND {prevented} > 0 THEN 'self_trade' ELSE change.reason END,
      sequence = change.sequence, updated_at = %(now)s::timestamptz
  FROM json_to_recordset(%(changes)s) AS change ({", ".join((*_CHANGES, *rare))})
  WHERE stored.order_id = change.order_id
  RETURNING stored.*
"""  # noqa: S608 - joined from constants only


INSERT, UPDATE = _insert(_RARE_COLUMNS), _update(_RARE_CHANGES)
# PostgreSQL prepares all expressions of the statement again for each batch, which takes time. So plain
# orders have statements with fewer expressions.
INSERT_PLAIN, UPDATE_PLAIN = _insert({}), _update({})
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


def are_plain(new: Sequence[Row], changed: Sequence[Row]) -> bool:
    """Return whether INSERT_PLAIN and UPDATE_PLAIN can write these rows."""
    return all(len(row) == len(_COLUMNS) for row in new) and all(len(row) == len(_CHANGES) for row in changed)


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
