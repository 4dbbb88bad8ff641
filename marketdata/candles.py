"""Candles of any interval, made from the minutes that are stored. Synchronous, as selectors are."""

from datetime import UTC, datetime, timedelta

from django.db import connection

from marketdata.documents import CandleDocument
from marketdata.models import Candle
from rest.numbers import Number, json_decimal, json_number
from rest.times import time_text

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
# The inner query bounds the minutes that are read by the greatest number that `limit` intervals can hold. First and
# last minute of an interval are found by key: sorting all of them costs twice as much.
_CANDLES_SQL = """
WITH whole AS (
  SELECT date_bin(make_interval(secs => %(seconds)s), time, timestamptz '1970-01-01 00:00:00+00') AS start,
         min(time) AS first, max(time) AS last, max(high) AS high, min(low) AS low, sum(volume) AS volume,
         sum(trade_count) AS trade_count
  FROM (SELECT time, high, low, volume, trade_count FROM marketdata_candle
        WHERE instrument_id = %(instrument)s AND time >= %(start)s AND time < %(end)s
        ORDER BY time DESC LIMIT %(minutes)s) AS minute
  GROUP BY start ORDER BY start DESC LIMIT %(limit)s
)
SELECT to_char(start AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS".000Z"'),
       (SELECT trim_scale(open)::text FROM marketdata_candle WHERE instrument_id = %(instrument)s AND time = first),
       trim_scale(high)::text, trim_scale(low)::text,
       (SELECT trim_scale(close)::text FROM marketdata_candle WHERE instrument_id = %(instrument)s AND time = last),
       trim_scale(volume)::text, trade_count::bigint
FROM whole ORDER BY start
"""


def list_candles(
    *, instrument_id: int, interval: timedelta, start: datetime, end: datetime, limit: int
) -> list[CandleDocument]:
    """The last `limit` candles that start in the span (start <= time < end), oldest first; each is whole."""
    found = _find_candles(instrument_id=instrument_id, interval=interval, start=start, end=end, limit=limit)
    return list(found.values())


def _find_candles(
    *, instrument_id: int, interval: timedelta, start: datetime, end: datetime, limit: int
) -> dict[str, CandleDocument]:
    """The same by their times."""
    minutes_max = limit * int(interval.total_seconds() // 60)
    with connection.cursor() as cursor:
        cursor.execute(
            _CANDLES_SQL,
            {
                "seconds": interval.total_seconds(),
                "instrument": instrument_id,
                "start": _next_start(start, interval),
                "end": _next_start(end, interval),
                "minutes": minutes_max,
                "limit": limit,
            },
        )
        candles: dict[str, CandleDocument] = {}
        for time, opened, high, low, closed, volume, trade_count in cursor.fetchall():
            candles[time] = CandleDocument(
                time=time,
                open=json_number(opened),
                high=json_number(high),
                low=json_number(low),
                close=json_number(closed),
                volume=json_number(volume),
                trade_count=trade_count,
            )
    return candles


def list_candles_filled(
    *, instrument_id: int, interval: timedelta, start: datetime, end: datetime, limit: int
) -> list[CandleDocument]:
    """The last `limit` intervals of the span up to now, oldest first, from the first trade ever on.

    One without a trade has the close before it as its prices, and no volume.
    """
    now = datetime.now(UTC)
    newest = candle_start(min(end - timedelta(microseconds=1), now), interval)
    span = (limit - 1) * interval
    oldest = newest - span if newest - start > span else _next_start(start, interval)
    traded = _find_candles(
        instrument_id=instrument_id, interval=interval, start=oldest, end=newest + interval, limit=limit
    )
    close = _close_before(instrument_id, oldest)
    filled: list[CandleDocument] = []
    at = oldest
    while at <= newest:
        time = time_text(at)
        candle = traded.get(time)
        if candle is None and close is not None:
            candle = CandleDocument(time, close, close, close, close, json_number("0"), 0)
        if candle is not None:
            filled.append(candle)
            close = candle.close
        at += interval
    return filled


def _close_before(instrument_id: int, moment: datetime) -> Number | None:
    earlier = Candle.objects.filter(instrument_id=instrument_id, time__lt=moment).order_by("-time")
    close = earlier.values_list("close", flat=True).first()
    return None if close is None else json_decimal(close)


def candle_start(moment: datetime, interval: timedelta) -> datetime:
    """The start of the interval that the moment lies in."""
    return moment - (moment - _EPOCH) % interval


def _next_start(moment: datetime, interval: timedelta) -> datetime:
    """The first start of an interval at or after the moment."""
    over = (moment - _EPOCH) % interval
    if not over:
        return moment
    try:
        return moment - over + interval
    except OverflowError:
        return moment
