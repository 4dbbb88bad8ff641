"""The commit's part for the table of order events: amends, triggers and prevented matches."""

from matching.batch.batch import Batch
from matching.commit.rows import Row

# An order of an earlier batch has its priority in the database. All parts of the statement see the
# database as it was before, so the stored priority is the one before the batch.
INSERT = """
  INSERT INTO orders_orderevent (instrument_id, sequence, order_id, kind, priority, price, quantity, trigger_price,
    taker_order_id, prevented_quantity, timestamp)
  SELECT event.instrument_id, event.sequence, event.order_id, event.kind, coalesce(event.priority, stored.priority),
    event.price, event.quantity, event.trigger_price, event.taker_order_id, event.prevented_quantity,
    %(now)s::timestamptz
  FROM json_to_recordset(%(events)s) AS event (
    instrument_id bigint, sequence bigint, order_id uuid, kind text, finds_priority boolean, priority bigint,
    price numeric, quantity numeric, trigger_price numeric, taker_order_id uuid, prevented_quantity numeric)
  LEFT JOIN orders_order AS stored ON event.finds_priority AND stored.order_id = event.order_id
"""


def rows(batch: Batch) -> list[Row]:
    """Return the rows to insert, in the order of the events."""
    return [
        {
            "instrument_id": event.instrument.instrument_id,
            "sequence": event.sequence,
            "order_id": event.order.order_id,
            "kind": event.kind,
            "finds_priority": event.changes_priority and event.priority is None,
            "priority": event.priority,
            "price": grid.price.text(event.order.price_ticks) if event.order.price_ticks else None,
            "quantity": grid.quantity.text(event.order.quantity_lots),
            "trigger_price": (
                grid.price.text(event.order.trigger_price_ticks) if event.order.trigger_price_ticks else None
            ),
            "taker_order_id": event.taker_order_id,
            "prevented_quantity": (
                None if event.prevented_lots is None else grid.quantity.text(event.prevented_lots)
            ),
        }
        for event in batch.event_rows
        for grid in (event.instrument.grid,)
    ]
