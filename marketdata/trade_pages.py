"""Reads the trades of GET /trades: one instrument's trades in the order of their sequences.

The only index of an instrument's trades is that of their sequences. Sequences and times grow
together, so the trades of a time range are found by a binary search for its bounds: some thirty
look-ups in that index. An index by time would cost every trade something.

Known limit: batches of two workers, or of one whose clock was set back, may have times that do not
grow. The bounds are therefore searched with a margin, and the trades between them are compared
exactly. If a clock went back by more than WORKER_CLOCK_STEP_SECONDS, which the worker logs, times
repeat. Then trades of the repeated times may be missing in a list with `start` or `end`. A list
without them has all trades.
"""

import contextlib
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.conf import settings
from django.db import connection

from base.numbers import json_number
from base.times import TimeRange, time_text
from marketdata.documents import TradeDocument

_AFTER_ALL = 2**63 - 1


class TradeQuery(NamedTuple):
    """At most `limit` trades of an instrument that follow the trade with the sequence `after`."""

    instrument_id: int
    symbol: str
    times: TimeRange = TimeRange()
    oldest_first: bool = False
    after: int | None = None
    limit: int = 50


# `low` and `high` come nearer to each other: all trades with a sequence below `low` are before the
# time, and those from `high` on are not. Each step looks at the first trade in the middle.
_SEARCH_SQL = """
WITH RECURSIVE search AS (
  SELECT 0::bigint AS low, coalesce((
    SELECT sequence + 1 FROM orders_trade WHERE instrument_id = %(instrument)s
    ORDER BY instrument_id DESC, sequence DESC LIMIT 1
  ), 0) AS high
  UNION ALL
  SELECT CASE WHEN looked.is_before THEN looked.sequence + 1 ELSE search.low END,
         CASE WHEN looked.is_before THEN search.high ELSE search.low + (search.high - search.low) / 2 END
  FROM search LEFT JOIN LATERAL (
    SELECT sequence, timestamp < %(time)s AS is_before FROM orders_trade
    WHERE instrument_id = %(instrument)s AND sequence >= search.low + (search.high - search.low) / 2
      AND sequence < search.high
    ORDER BY instrument_id, sequence LIMIT 1
  ) AS looked ON true
  WHERE search.low < search.high
)
SELECT low FROM search WHERE low = high
"""
_TRADES_SQL = """
SELECT trade_id::text, sequence, trim_scale(price)::text, trim_scale(quantity)::text, taker_side, timestamp
FROM orders_trade
WHERE instrument_id = %(instrument)s AND sequence > %(above)s AND sequence < %(below)s
  AND timestamp >= coalesce(%(start)s, '-infinity'::timestamptz)
  AND timestamp < coalesce(%(end)s, 'infinity'::timestamptz)
ORDER BY instrument_id {direction}, sequence {direction} LIMIT %(limit)s
"""


def list_trades(query: TradeQuery) -> list[TradeDocument]:
    """Return the trades, sorted by sequence."""
    margin = timedelta(seconds=settings.WORKER_CLOCK_STEP_SECONDS)
    start, end = query.times
    above, below = -1, _AFTER_ALL
    if start is not None:
        above = _first_sequence(query.instrument_id, start, -margin) - 1
    if end is not None:
        below = _first_sequence(query.instrument_id, end, margin)
    if query.after is not None and query.oldest_first:
        above = max(above, query.after)
    elif query.after is not None:
        below = min(below, query.after)
    parameters: dict[str, Any] = {
        "instrument": query.instrument_id,
        "above": above,
        "below": below,
        "start": start,
        "end": end,
        "limit": query.limit,
    }
    with connection.cursor() as cursor:
        cursor.execute(_TRADES_SQL.format(direction="ASC" if query.oldest_first else "DESC"), parameters)
        return [
            TradeDocument(
                trade_id=trade_id,
                instrument=query.symbol,
                sequence=sequence,
                price=json_number(price),
                quantity=json_number(quantity),
                side=side,
                timestamp=time_text(timestamp),
            )
            for trade_id, sequence, price, quantity, side, timestamp in cursor.fetchall()
        ]


def _first_sequence(instrument_id: int, time: datetime, margin: timedelta) -> int:
    """Return a sequence with all trades before the time, plus the margin, below it, and no others."""
    with contextlib.suppress(OverflowError):  # There are no trades near the first and the last time.
        time += margin
    with connection.cursor() as cursor:
        cursor.execute(_SEARCH_SQL, {"instrument": instrument_id, "time": time})
        [(sequence,)] = cursor.fetchall()
    return int(sequence)
