"""Reads candles of any interval, made from the stored one-minute candles, synchronously."""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from django.db import connection

from base.documents import Number
from base.numbers import json_decimal, json_number
from base.times import time_text
from marketdata.documents import CandleDocument
from marketdata.messages import Minute
from marketdata.models import Candle

CANDLE_INTERVALS = {
    "1m": timedelta(minutes=1),
    "5m": timedelta(minutes=5),
    "15m": timedelta(minutes=15),
    "1h": timedelta(hours=1),
    "4h": timedelta(hours=4),
    "1d": timedelta(days=1),
}

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# Longer intervals are made from the minutes. They start at multiples of the interval since 1970, in
# UTC. The inner query reads at most as many minutes as `limit` intervals can hold. The first and
# the last minute of an interval are found by key, because sorting all of them costs twice as much.
_CANDLES_SQL = """
WITH whole AS (
  SELECT date_bin(make_interval(secs => %(seconds)s), time, timestamptz '1970-01-01 00:00:00+00') AS start,
         min(time) AS first, max(time) AS last, max(high) AS high, min(low) AS low, sum(volume) AS volume,
         sum(trade_count) AS trade_count
  FROM (SELECT time, high, low, volume, trade_count FROM marketdata_candle
        WHERE instrument_id = %(instrument)s AND time >= %(start)s AND time < %(end)s
        ORDER BY time {order} LIMIT %(minutes)s) AS minute
  GROUP BY start ORDER BY start {order} LIMIT %(limit)s
)
SELECT to_char(start AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS".000Z"'),
       (SELECT trim_scale(open)::text FROM marketdata_candle WHERE instrument_id = %(instrument)s AND time = first),
       trim_scale(high)::text, trim_scale(low)::text,
       (SELECT trim_scale(close)::text FROM marketdata_candle WHERE instrument_id = %(instrument)s AND time = last),
       trim_scale(volume)::text, trade_count::bigint
FROM whole ORDER BY start
"""
_FIRST_CANDLES_SQL = _CANDLES_SQL.format(order="ASC")
_LAST_CANDLES_SQL = _CANDLES_SQL.format(order="DESC")


class CandleSpan(NamedTuple):
    """A range of candles: the last `limit` candles with start <= time < end.

    With a start but without an end, the first `limit` candles, for clients that page forward.
    """

    interval: timedelta
    start: datetime | None
    end: datetime | None
    limit: int

    @property
    def is_from_start(self) -> bool:
        return self.start is not None and self.end is None

    @property
    def first_start(self) -> datetime:
        """The earliest time of a candle in the span."""
        return _next_start(self.start or datetime.min.replace(tzinfo=UTC), self.interval)

    @property
    def last_start(self) -> datetime:
        """The latest time of a candle in the span: at most the current interval's start."""
        now = datetime.now(UTC)
        return candle_start(
            now if self.end is None else min(self.end - timedelta(microseconds=1), now), self.interval
        )


def list_candles(*, instrument_id: int, span: CandleSpan) -> list[CandleDocument]:
    """Return the span's candles with trades, oldest first. Each is whole, even if it ends later."""
    return list(_find_candles(instrument_id, span).values())


def _find_candles(instrument_id: int, span: CandleSpan) -> dict[str, CandleDocument]:
    """Return the span's candles with trades, by their times."""
    open_since = time_text(candle_start(datetime.now(UTC), span.interval))
    with connection.cursor() as cursor:
        cursor.execute(
            _FIRST_CANDLES_SQL if span.is_from_start else _LAST_CANDLES_SQL,
            {
                "seconds": span.interval.total_seconds(),
                "instrument": instrument_id,
                "start": span.first_start,
                "end": _next_start(span.end or datetime.max.replace(tzinfo=UTC), span.interval),
                "minutes": span.limit * int(span.interval.total_seconds() // 60),
                "limit": span.limit,
            },
        )
        candles: dict[str, CandleDocument] = {}
        for time, opened, high, low, close, volume, trade_count in cursor.fetchall():
            candles[time] = CandleDocument(
                time=time,
                open=json_number(opened),
                high=json_number(high),
                low=json_number(low),
                close=json_number(close),
                volume=json_number(volume),
                trade_count=trade_count,
                closed=time < open_since,
            )
    return candles


def list_candles_filled(*, instrument_id: int, span: CandleSpan) -> list[CandleDocument]:
    """Return a candle for each interval of the span, oldest first.

    Only intervals from the first trade ever until now have a candle. A candle without a trade has
    the previous close as its prices, and a volume of 0.
    """
    oldest, newest = span.first_start, span.last_start
    length = (span.limit - 1) * span.interval
    if span.is_from_start:
        oldest = _first_filled_start(instrument_id, oldest, span.interval)
        newest = oldest + length if newest - oldest > length else newest
    elif newest - oldest > length:
        oldest = newest - length
    if oldest > newest:
        return []
    found = CandleSpan(span.interval, oldest, newest + span.interval, span.limit)
    traded = _find_candles(instrument_id, found)
    close = _close_before(instrument_id, oldest)
    open_since = candle_start(datetime.now(UTC), span.interval)
    filled: list[CandleDocument] = []
    at = oldest
    while at <= newest:
        time = time_text(at)
        candle = traded.get(time)
        if candle is None and close is not None:
            candle = CandleDocument(time, close, close, close, close, json_number("0"), 0, at < open_since)
        if candle is not None:
            filled.append(candle)
            close = candle.close
        at += span.interval
    return filled


def _first_filled_start(instrument_id: int, start: datetime, interval: timedelta) -> datetime:
    """Return `start`, or the start of the first trade's interval if that is later.

    Without any trade, returns `start`: no interval has a price then.
    """
    first = Candle.objects.filter(instrument_id=instrument_id).order_by("time")
    first_trade = first.values_list("time", flat=True).first()
    return start if first_trade is None else max(start, candle_start(first_trade, interval))


def _close_before(instrument_id: int, moment: datetime) -> Number | None:
    earlier = Candle.objects.filter(instrument_id=instrument_id, time__lt=moment).order_by("-time")
    close = earlier.values_list("close", flat=True).first()
    return None if close is None else json_decimal(close)


def candle_start(moment: datetime, interval: timedelta) -> datetime:
    """Return the start of the interval that contains the moment."""
    return moment - (moment - _EPOCH) % interval


def _next_start(moment: datetime, interval: timedelta) -> datetime:
    """Return the first start of an interval at or after the moment."""
    over = (moment - _EPOCH) % interval
    if not over:
        return moment
    try:
        return moment - over + interval
    except OverflowError:
        return moment


def candle_of(minute: Minute, start: datetime, *, closed: bool) -> CandleDocument:
    """Return the candle that starts at `start`. `minute` holds the sum of its minutes."""
    return CandleDocument(
        time_text(start),
        json_decimal(minute.open),
        json_decimal(minute.high),
        json_decimal(minute.low),
        json_decimal(minute.close),
        json_decimal(minute.volume),
        minute.trade_count,
        closed,
    )
