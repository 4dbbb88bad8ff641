"""Reads statistics and open orders.

These functions are synchronous. Views call them through base.database.read_database.
"""

import re
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from django.db import connection

from base.database import snapshot
from marketdata.documents import Statistics
from marketdata.messages import Minute
from marketdata.models import BookSequence, Candle
from orders.models import LIVE_STATUSES, Order

TICKER_WINDOW = timedelta(hours=24)
WINDOW_PATTERN = re.compile(r"([1-9][0-9]{0,6})([mhd])")  # of statistics, for example 24h
WINDOW_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}


_STATISTICS_SQL = """
SELECT chosen.instrument_id, day.trade_count, day.volume, day.notional, first.open, day.high, day.low, last.close
FROM unnest(%(instruments)s::bigint[]) AS chosen (instrument_id)
CROSS JOIN LATERAL (
  SELECT coalesce(sum(trade_count), 0)::bigint AS trade_count, coalesce(sum(volume), 0) AS volume,
    coalesce(sum(notional), 0) AS notional, max(high) AS high, min(low) AS low
  FROM marketdata_candle WHERE instrument_id = chosen.instrument_id AND time >= %(since)s
) AS day
LEFT JOIN LATERAL (
  SELECT open FROM marketdata_candle WHERE instrument_id = chosen.instrument_id AND time >= %(since)s
  ORDER BY time LIMIT 1
) AS first ON true
LEFT JOIN LATERAL (
  SELECT close FROM marketdata_candle WHERE instrument_id = chosen.instrument_id AND time >= %(since)s
  ORDER BY time DESC LIMIT 1
) AS last ON true
"""


def trade_statistics(*, instrument_ids: Collection[int], window: timedelta) -> dict[int, Statistics]:
    """Return exact statistics of all trades since the start of the window, by instrument.

    See `window_start`.
    """
    since = window_start(datetime.now(UTC), window)
    with connection.cursor() as cursor:
        cursor.execute(_STATISTICS_SQL, {"instruments": list(instrument_ids), "since": since})
        return {instrument_id: Statistics(*numbers) for instrument_id, *numbers in cursor.fetchall()}


def window_start(now: datetime, window: timedelta) -> datetime:
    """Return the start of the window that ends now, rounded down to a whole minute."""
    return (now - window).replace(second=0, microsecond=0)


_LAST_PRICES_SQL = """
SELECT chosen.instrument_id, last.close FROM unnest(%s::bigint[]) AS chosen (instrument_id)
CROSS JOIN LATERAL (
  SELECT close FROM marketdata_candle WHERE instrument_id = chosen.instrument_id ORDER BY time DESC LIMIT 1
) AS last
"""


def last_prices(instrument_ids: Collection[int]) -> dict[int, Decimal]:
    """Return the price of the last trade ever, even if that trade was pruned, by instrument.

    An instrument without a trade is left out.
    """
    with connection.cursor() as cursor:
        cursor.execute(_LAST_PRICES_SQL, [list(instrument_ids)])
        return dict(cursor.fetchall())


_PRICES_OVER_TIME_SQL = """
SELECT chosen.instrument_id, array_agg(last.close ORDER BY moment.number)
FROM unnest(%(instruments)s::bigint[]) AS chosen (instrument_id)
CROSS JOIN unnest(%(times)s::timestamptz[]) WITH ORDINALITY AS moment (time, number)
LEFT JOIN LATERAL (
  SELECT close FROM marketdata_candle WHERE instrument_id = chosen.instrument_id AND time < moment.time
  ORDER BY time DESC LIMIT 1
) AS last ON true
GROUP BY chosen.instrument_id
"""


def prices_over_time(
    instrument_ids: Collection[int], times: Sequence[datetime]
) -> dict[int, list[Decimal | None]]:
    """Return the price of the last minute with a trade that began before each time, by instrument.

    A price is None if there was no trade before. Reads one candle for each price.
    """
    with connection.cursor() as cursor:
        cursor.execute(_PRICES_OVER_TIME_SQL, {"instruments": list(instrument_ids), "times": list(times)})
        return dict(cursor.fetchall())


class TickerNumbers(NamedTuple):
    """Trading over the ticker's window, and the last price ever."""

    statistics: Statistics
    last: Decimal | None


def read_tickers(instrument_ids: Collection[int]) -> dict[int, TickerNumbers]:
    """Return the numbers of tickers by instrument, with two statements for all of them."""
    days = trade_statistics(instrument_ids=instrument_ids, window=TICKER_WINDOW)
    last = last_prices([number for number, day in days.items() if day.last is None])
    return {
        number: TickerNumbers(day, last.get(number) if day.last is None else day.last)
        for number, day in days.items()
    }


class DayOfTrading(NamedTuple):
    """The minutes of the ticker's window with a trade, and the last price ever."""

    minutes: list[Minute]
    last: Decimal | None


def read_day(*, instrument_id: int) -> DayOfTrading:
    """Return the trading that tickers and open candles are made of."""
    since = window_start(datetime.now(UTC), TICKER_WINDOW)
    candles = Candle.objects.filter(instrument_id=instrument_id, time__gte=since).order_by("time")
    names = ("time", "open", "high", "low", "close", "volume", "notional", "trade_count")
    minutes = [Minute(*row) for row in candles.values_list(*names)]
    last = minutes[-1].close if minutes else last_prices([instrument_id]).get(instrument_id)
    return DayOfTrading(minutes, last)


class OpenOrders(NamedTuple):
    """A client's open orders in one instrument, oldest first, as of the book's sequence."""

    sequence: int
    orders: list[Order]


# With comparisons of row values, PostgreSQL can only use the index order_list_by_client. See
# orders/time_lists.py.
_OPEN_ORDERS_SQL = """
SELECT found.* FROM unnest(%(statuses)s::varchar[]) AS list(status) CROSS JOIN LATERAL (
  SELECT * FROM orders_order AS listed
  WHERE (listed.client_id, listed.instrument_id, listed.status)
     >= (%(client)s::varchar, %(instrument)s::bigint, list.status)
    AND (listed.client_id, listed.instrument_id, listed.status)
     <= (%(client)s::varchar, %(instrument)s::bigint, list.status)
  ORDER BY listed.client_id, listed.instrument_id, listed.status, listed.created_at, listed.order_id
  LIMIT %(limit)s
) AS found
ORDER BY found.created_at, found.order_id LIMIT %(limit)s
"""


def list_open_orders(*, instrument_id: int, client_id: str, limit: int) -> OpenOrders:
    """Return at most `limit` open and pending orders of a client.

    Reads at most `limit` of each status.
    """
    with snapshot():
        sequence = (
            BookSequence.objects.filter(instrument_id=instrument_id)
            .values_list("sequence", flat=True)
            .first()
        )
        parameters = {
            "client": client_id,
            "instrument": instrument_id,
            "statuses": [str(status) for status in LIVE_STATUSES],
            "limit": limit,
        }
        return OpenOrders(sequence or 0, list(Order.objects.raw(_OPEN_ORDERS_SQL, parameters)))
