"""The commit's part for the table of trades."""

from matching.batch.batch import Batch
from matching.batch.effects import SIDE_NAMES
from matching.commit.rows import Row

INSERT = """
  INSERT INTO orders_trade (trade_id, instrument_id, sequence, price, quantity, taker_side, maker_order_id,
    taker_order_id, maker_client_id, taker_client_id, timestamp)
  SELECT trade.*, %(now)s::timestamptz FROM json_to_recordset(%(trades)s) AS trade (
    trade_id uuid, instrument_id bigint, sequence bigint, price numeric, quantity numeric, taker_side text,
    maker_order_id uuid, taker_order_id uuid, maker_client_id text, taker_client_id text)
"""


def rows(batch: Batch) -> list[Row]:
    """Return the rows to insert, in the order of the trades."""
    return [
        {
            "trade_id": trade.trade_id,
            "instrument_id": trade.instrument.instrument_id,
            "sequence": trade.event.sequence,
            "price": trade.instrument.grid.price.text(trade.event.price_ticks),
            "quantity": trade.instrument.grid.quantity.text(trade.event.quantity_lots),
            "taker_side": SIDE_NAMES[trade.event.taker.side],
            "maker_order_id": trade.event.maker.order_id,
            "taker_order_id": trade.event.taker.order_id,
            "maker_client_id": trade.event.maker.client_id,
            "taker_client_id": trade.event.taker.client_id,
        }
        for trade in batch.trades
    ]
