"""Reads trades, statistics and open orders.

These functions are synchronous. Views call them through base.database.read_database.
"""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from django.db import connection

from base.database import snapshot
from base.numbers import json_number
from base.times import time_text
from marketdata.documents import Statistics, TradeDocument
from marketdata.messages import Minute
from marketdata.models import BookSequence, Candle
from orders.models import LIVE_STATUSES, Order

TICKER_WINDOW = timedelta(hours=24)
WINDOW_PATTERN = re.compile(r"([1-9][0-9]{0,6})([mhd])")  # of statistics, for example 24h
WINDOW_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}


_TRADES_SQL = """
SELECT trade_id::text, sequence, trim_scale(price)::text, trim_scale(quantity)::text, taker_side, timestamp
FROM orders_trade
WHERE instrument_id = %(instrument)s AND sequence < %(before)s
ORDER BY sequence DESC LIMIT %(limit)s
"""
_AFTER_ALL = 2**63 - 1


def list_trades(
    *, instrument_id: int, symbol: str, before_sequence: int | None, limit: int
) -> list[TradeDocument]:
    """Return trades with a sequence below `before_sequence`, newest first."""
    before = _AFTER_ALL if before_sequence is None else before_sequence
    with connection.cursor() as cursor:
        cursor.execute(_TRADES_SQL, {"instrument": instrument_id, "before": before, "limit": limit})
        return [
            TradeDocument(
                trade_id=trade_id,
                instrument=symbol,
                sequence=sequence,
                price=json_number(price),
                quantity=json_number(quantity),
                side=side,
                timestamp=time_text(timestamp),
            )
            for trade_id, sequence, price, quantity, side, timestamp in cursor.fetchall()
        ]


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
    """Return exact statistics of all trades since the start of the window: see `window_start`."""
    since = window_start(datetime.now(UTC), window)
    with connection.cursor() as cursor:
        cursor.execute(_STATISTICS_SQL, {"instrument": instrument_id, "since": since})
        return Statistics(*cursor.fetchone())


def window_start(now: datetime, window: timedelta) -> datetime:
    """Return the start of the window that ends now, rounded down to a whole minute."""
    return (now - window).replace(second=0, microsecond=0)


def last_price(*, instrument_id: int) -> Decimal | None:
    """Return the price of the last trade ever, even if that trade was pruned; None without one."""
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
    """Return the trading that tickers and open candles are made of."""
    since = window_start(datetime.now(UTC), TICKER_WINDOW)
    candles = Candle.objects.filter(instrument_id=instrument_id, time__gte=since).order_by("time")
    names = ("time", "open", "high", "low", "close", "volume", "notional", "trade_count")
    minutes = [Minute(*row) for row in candles.values_list(*names)]
    return DayOfTrading(minutes, minutes[-1].close if minutes else last_price(instrument_id=instrument_id))


class OpenOrders(NamedTuple):
    """A client's open orders in one instrument, oldest first, as of the book's sequence."""

    sequence: int
    orders: list[Order]


# With comparisons of row values, PostgreSQL can only use the index order_list_by_client. See
# orders/pages.py.
_OPEN_ORDERS_SQL = """
SELECT found.* FROM unnest(%(statuses)s::varchar[]) AS list(status) CROSS JOIN LATERAL (
  SELECT * FROM orders_order AS listed
  WHERE (listed.client_id, listed.instrument_id, listed.status)
     >= (%(client)s::varchar, %(instrument)s::bigint, list.status)
    AND (listed.client_id, listed.instrument_id, listed.status)
     <= (%(client)s::varchar, %(instrument)s::bigint, list.status)
  ORDER BY listed.client_id, listed.instrument_id, listed.status, listed.order_id LIMIT %(limit)s
) AS found
ORDER BY found.order_id LIMIT %(limit)s
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
