"""Reads of trades, statistics and candles. Synchronous: views call them through rest.database.read_database."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from django.db import connection
from django.db.models import QuerySet

from marketdata.messages import Minute
from marketdata.models import BookSequence, Candle, Trade
from orders.models import RESTING_STATUSES, Order
from rest.database import snapshot

TICKER_WINDOW = timedelta(hours=24)


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
SELECT coalesce(sum(trade_count), 0)::bigint, coalesce(sum(volume), 0), coalesce(sum(notional), 0),
       (SELECT open FROM marketdata_candle WHERE instrument_id = %(instrument)s AND time >= %(since)s
        ORDER BY time LIMIT 1),
       max(high), min(low),
       (SELECT close FROM marketdata_candle WHERE instrument_id = %(instrument)s AND time >= %(since)s
        ORDER BY time DESC LIMIT 1)
FROM marketdata_candle
WHERE instrument_id = %(instrument)s AND time >= %(since)s
"""


def trade_statistics(*, instrument_id: int, window: timedelta) -> Statistics:
    """Exact over every trade of the window, which begins with the minute that `window_start` says."""
    since = window_start(datetime.now(UTC), window)
    with connection.cursor() as cursor:
        cursor.execute(_STATISTICS_SQL, {"instrument": instrument_id, "since": since})
        return Statistics(*cursor.fetchone())


def window_start(now: datetime, window: timedelta) -> datetime:
    """The minute that the window up to now begins in; all of it belongs to the window."""
    return (now - window).replace(second=0, microsecond=0)


def last_price(*, instrument_id: int) -> Decimal | None:
    """Of the last trade ever, be it stored still or not; None where there was none."""
    candles = Candle.objects.filter(instrument_id=instrument_id).order_by("-time")
    return candles.values_list("close", flat=True).first()


class TickerNumbers(NamedTuple):
    """Trading over the ticker's window, and the last price ever."""

    statistics: Statistics
    last: Decimal | None


def read_ticker(*, instrument_id: int) -> TickerNumbers:
    statistics = trade_statistics(instrument_id=instrument_id, window=TICKER_WINDOW)
    last = statistics.last if statistics.last is not None else last_price(instrument_id=instrument_id)
    return TickerNumbers(statistics, last)


class DayOfTrading(NamedTuple):
    """The minutes of the ticker's window with a trade, and the last price ever."""

    minutes: list[Minute]
    last: Decimal | None


def read_day(*, instrument_id: int) -> DayOfTrading:
    """What a ticker and open candles are made of."""
    since = window_start(datetime.now(UTC), TICKER_WINDOW)
    candles = Candle.objects.filter(instrument_id=instrument_id, time__gte=since).order_by("time")
    names = ("time", "open", "high", "low", "close", "volume", "notional", "trade_count")
    minutes = [Minute(*row) for row in candles.values_list(*names)]
    return DayOfTrading(minutes, minutes[-1].close if minutes else last_price(instrument_id=instrument_id))


class OpenOrders(NamedTuple):
    """A client's open orders in one instrument, oldest first, as of the book's sequence."""

    sequence: int
    orders: list[Order]


def list_open_orders(*, instrument_id: int, client_id: str, limit: int) -> OpenOrders:
    """At most `limit`."""
    with snapshot():
        sequence = (
            BookSequence.objects.filter(instrument_id=instrument_id)
            .values_list("sequence", flat=True)
            .first()
        )
        orders = Order.objects.filter(
            instrument_id=instrument_id, client_id=client_id, status__in=RESTING_STATUSES
        ).order_by("order_id")[:limit]
        return OpenOrders(sequence or 0, list(orders))


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


def list_candles_filled(
    *, instrument_id: int, interval: timedelta, start: datetime, end: datetime, limit: int
) -> list[Candle]:
    """The last `limit` intervals of the span up to now, oldest first, from the first trade ever on.

    One without a trade has the close before it as its prices, and no volume.
    """
    now = datetime.now(UTC)
    newest = candle_start(min(end - timedelta(microseconds=1), now), interval)
    span = (limit - 1) * interval
    oldest = newest - span if newest - start > span else _next_start(start, interval)
    traded = {
        candle.time: candle
        for candle in list_candles(
            instrument_id=instrument_id, interval=interval, start=oldest, end=newest + interval, limit=limit
        )
    }
    before = Candle.objects.filter(instrument_id=instrument_id, time__lt=oldest).order_by("-time").first()
    close = None if before is None else before.close
    filled: list[Candle] = []
    at = oldest
    while at <= newest:
        candle = traded.get(at)
        if candle is None and close is not None:
            candle = Candle(
                time=at, open=close, high=close, low=close, close=close, volume=Decimal(0), trade_count=0
            )
        if candle is not None:
            filled.append(candle)
            close = candle.close
        at += interval
    return filled


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
