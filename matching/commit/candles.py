"""The commit's part for the table of candles: adds the batch's trades to the minute's candle."""

from matching.batch.batch import Batch
from matching.commit.rows import Row

UPSERT = """
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
"""
# A row that `UPSERT` returns, as the array that marketdata.messages.Minute decodes.
MINUTE = "json_build_array(time, open, high, low, close, volume, notional, trade_count)"


def rows(batch: Batch) -> list[Row]:
    """Return what the batch adds to the candle of each instrument."""
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
