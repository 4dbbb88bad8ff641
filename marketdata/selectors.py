"""Reads of trades, statistics and candles. Synchronous: views call them through rest.database.read_database."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from django.db import connection
from django.db.models import QuerySet

from marketdata.models import Candle, Trade


def list_trades(*, instrument_id: int, before_sequence: int | None, limit: int) -> list[Trade]:
    """Newest first, those with a sequence below `before_sequence`."""
    trades: QuerySet[Trade] = Trade.objects.filter(instrument_id=instrument_id).order_by("-sequence")
    if before_sequence is not None:
        trades = trades.filter(sequence__lt=before_sequence)
    return list(trades[:limit])


class Statistics(NamedTuple):
    """Trading over a window; prices are None where there was no trade."""

    trade_count: int
    volume: Decimal
    notional: Decimal
    open: Decimal | None
    high: Decimal | None
    low: Decimal | None
    last: Decimal | None


_STATISTICS_SQL = """
SELECT count(*), coalesce(sum(quantity), 0), coalesce(sum(price * quantity), 0),
       (SELECT price FROM marketdata_trade WHERE instrument_id = %(instrument)s AND timestamp >= %(since)s
        ORDER BY timestamp, sequence LIMIT 1),
       max(price), min(price),
       (SELECT price FROM marketdata_trade WHERE instrument_id = %(instrument)s AND timestamp >= %(since)s
        ORDER BY timestamp DESC, sequence DESC LIMIT 1)
FROM marketdata_trade
WHERE instrument_id = %(instrument)s AND timestamp >= %(since)s
"""


def trade_statistics(*, instrument_id: int, since: datetime) -> Statistics:
    """Exact over every trade since then."""
    with connection.cursor() as cursor:
        cursor.execute(_STATISTICS_SQL, {"instrument": instrument_id, "since": since})
        return Statistics(*cursor.fetchone())


WINDOW_PATTERN = re.compile(r"([1-9][0-9]{0,6})([mhd])")  # of statistics, for example 24h
WINDOW_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}

CANDLE_INTERVALS = {
    "1m": timedelta(minutes=1),
    "5m": timedelta(minutes=5),
    "15m": timedelta(minutes=15),
    "1h": timedelta(hours=1),
    "4h": timedelta(hours=4),
    "1d": timedelta(days=1),
}

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# Longer intervals are made from the minutes; they start at multiples of the interval since 1970 in UTC.
# The inner query bounds the minutes that are read by the greatest number that `limit` intervals can hold.
_CANDLES_SQL = """
SELECT date_bin(make_interval(secs => %(seconds)s), time, timestamptz '1970-01-01 00:00:00+00') AS start,
       (array_agg(open ORDER BY time))[1], max(high), min(low),
       (array_agg(close ORDER BY time DESC))[1], sum(volume), sum(trade_count)
FROM (SELECT * FROM marketdata_candle
      WHERE instrument_id = %(instrument)s AND time >= %(start)s AND time < %(end)s
      ORDER BY time DESC LIMIT %(minutes)s) AS minute
GROUP BY start ORDER BY start DESC LIMIT %(limit)s
"""


def list_candles(
    *, instrument_id: int, interval: timedelta, start: datetime, end: datetime, limit: int
) -> list[Candle]:
    """The last `limit` candles that start in the span (start <= time < end), oldest first; each is whole."""
    start, end = _next_start(start, interval), _next_start(end, interval)
    minutes_max = limit * int(interval.total_seconds() // 60)
    with connection.cursor() as cursor:
        cursor.execute(
            _CANDLES_SQL,
            {
                "seconds": interval.total_seconds(),
                "instrument": instrument_id,
                "start": start,
                "end": end,
                "minutes": minutes_max,
                "limit": limit,
            },
        )
        rows = cursor.fetchall()
    names = ("time", "open", "high", "low", "close", "volume", "trade_count")
    return [Candle(**dict(zip(names, row, strict=True))) for row in reversed(rows)]


def _next_start(moment: datetime, interval: timedelta) -> datetime:
    """The first start of an interval at or after the moment."""
    over = (moment - _EPOCH) % interval
    if not over:
        return moment
    try:
        return moment - over + interval
    except OverflowError:
        return moment
