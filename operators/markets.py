"""The instruments on the admin's front page: each with its prices, its trading and its orders.

The best prices come from Redis, in the front page's round trip. The rest comes from the database:
three statements, however many instruments there are. They read what the ticker reads, one candle
for each price of a chart, and at most DASHBOARD_LIVE_ORDERS_MAX index entries of an instrument's
resting orders, and of its waiting ones. If they fail, the page shows the instruments without them.
"""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from django.conf import settings
from django.db import DatabaseError, transaction

from base.numbers import EXACT, decimal_text, percent
from instruments.directory import TradedInstrument
from instruments.grid import Grid
from marketdata.book import BookLevel
from marketdata.documents import Statistics
from marketdata.selectors import TICKER_WINDOW, prices_over_time, trade_statistics
from operators.instruments import bound_statements
from operators.sparkline import Sparkline, draw
from orders.selectors import LiveOrders, count_live_orders

_FUTURE = timedelta(days=1)  # The last price is that of the newest candle, whatever the clocks say.


class BookTop(NamedTuple):
    """The sequence of a book in Redis, and its best levels. A value that is missing is None."""

    sequence: int | None = None
    bid: BookLevel | None = None
    ask: BookLevel | None = None


class MarketReads(NamedTuple):
    """What the database knows of the shown instruments, by their keys."""

    days: dict[int, Statistics]
    prices: dict[int, list[Decimal | None]]  # The last price at DASHBOARD_PRICES times, oldest first.
    orders: dict[int, LiveOrders]  # Empty if the user may not see orders.


class Market(NamedTuple):
    """An instrument on the front page. Numbers are plain decimal text. None is shown as a dash."""

    instrument_id: int
    symbol: str
    base: str
    halted: bool
    partition: int
    sequence: int | None
    bid: str | None
    bid_quantity: str | None
    ask: str | None
    ask_quantity: str | None
    spread: str | None
    last: str | None
    trend: str  # up, down or flat
    change: str | None
    volume: str | None
    chart: Sparkline | None
    chart_text: str
    open_orders: str | None
    pending_orders: str | None


def read_markets(instrument_ids: Sequence[int], *, with_orders: bool) -> MarketReads | None:
    """Read prices, trading and numbers of orders. None if a statement fails or takes too long."""
    now = datetime.now(UTC)
    step = TICKER_WINDOW / (settings.DASHBOARD_PRICES - 1)
    times = [now - step * number for number in range(settings.DASHBOARD_PRICES - 1, 0, -1)]
    try:
        with transaction.atomic():
            bound_statements(settings.DASHBOARD_SECONDS_MAX)
            return MarketReads(
                days=trade_statistics(instrument_ids=instrument_ids, window=TICKER_WINDOW),
                prices=prices_over_time(instrument_ids, [*times, now + _FUTURE]),
                orders=live_orders(instrument_ids) if with_orders else {},
            )
    except DatabaseError:
        return None


def live_orders(instrument_ids: Collection[int]) -> dict[int, LiveOrders]:
    """Count the orders that rest or wait, up to one more than the page shows as a number."""
    return count_live_orders(instrument_ids, count_max=settings.DASHBOARD_LIVE_ORDERS_MAX + 1)


def count_text(count: int) -> str:
    """Return the number of orders, or for example 1000+."""
    shown_max: int = settings.DASHBOARD_LIVE_ORDERS_MAX
    return f"{shown_max}+" if count > shown_max else str(count)


def market_of(instrument: TradedInstrument, top: BookTop, reads: MarketReads | None) -> Market:
    """Return what the front page shows of an instrument."""
    grid, key = instrument.grid, instrument.instrument_id
    day = reads.days.get(key) if reads else None
    prices = reads.prices.get(key, []) if reads else []
    orders = reads.orders.get(key) if reads else None
    last = prices[-1] if prices else None
    change = None
    if day is not None and day.open is not None and day.last is not None:
        change = EXACT.subtract(day.last, day.open)
    return Market(
        instrument_id=key,
        symbol=instrument.symbol,
        base=instrument.symbol.partition("-")[0],
        halted=instrument.halted,
        partition=instrument.partition,
        sequence=top.sequence,
        bid=_price(grid, top.bid),
        bid_quantity=_quantity(grid, top.bid),
        ask=_price(grid, top.ask),
        ask_quantity=_quantity(grid, top.ask),
        spread=_spread(grid, top),
        last=None if last is None else decimal_text(last),
        trend="flat" if not change else "up" if change > 0 else "down",
        change=None if change is None or day is None or day.open is None else _percent_text(change, day.open),
        volume=None if day is None else _rounded(day.volume),
        chart=draw([None if price is None else grid.price.steps(price) for price in _charted(prices, day)]),
        chart_text=_chart_text(instrument.symbol, day),
        open_orders=count_text(orders.resting) if orders else None,
        pending_orders=count_text(orders.waiting) if orders else None,
    )


def _charted(prices: Sequence[Decimal | None], day: Statistics | None) -> list[Decimal | None]:
    """Return the chart's prices. If the first trade ever is one of them, it begins at its price."""
    charted = list(prices)
    first = next((number for number, price in enumerate(charted) if price is not None), 0)
    if first > 0 and day is not None:
        charted[first - 1] = day.open
    return charted


def _price(grid: Grid, level: BookLevel | None) -> str | None:
    return None if level is None else grid.price.text(level.price_ticks)


def _quantity(grid: Grid, level: BookLevel | None) -> str | None:
    return None if level is None else grid.quantity.text(level.quantity_lots)


def _spread(grid: Grid, top: BookTop) -> str | None:
    if top.bid is None or top.ask is None or top.ask.price_ticks < top.bid.price_ticks:
        return None
    return grid.price.text(top.ask.price_ticks - top.bid.price_ticks)


def _percent_text(change: Decimal, first: Decimal) -> str:
    """Return the change in percent with its sign and two decimals. U+2212 is as wide as a plus."""
    text = format(percent(change, first), "+.2f" if change else ".2f")
    return f"{text} %".replace("-", "\N{MINUS SIGN}")


def _rounded(volume: Decimal) -> str:
    """Return a volume with at most two decimals, or four if it is below 10."""
    return decimal_text(round(volume, 4 if volume < 10 else 2))


def _chart_text(symbol: str, day: Statistics | None) -> str:
    """Return what the chart shows, in words, for people who can't see it."""
    if day is None or day.open is None or day.last is None or day.low is None or day.high is None:
        return f"{symbol}: no trade in 24 hours"
    first, last, low, high = map(decimal_text, (day.open, day.last, day.low, day.high))
    return f"{symbol} in the last 24 hours: from {first} to {last}, lowest {low}, highest {high}"
