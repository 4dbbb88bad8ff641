"""Gives a new instrument a made past: candles without trades, so that its chart is not empty.

It is for laboratories and demonstrations. Nobody has traded in a made minute, so there are no orders
and no trades, as after pruning. The made past is marked in the same table, and the audit knows that
nothing else of it is kept. Statistics and tickers are computed from candles, so for a day they
count the made volume too.

It can run beside a running exchange. The made past takes the first number of the book's sequence.
The same transaction fences the partition's worker, which then loads its books again, with the
last prices. Its next batch does not continue the books that API processes know, so they read
the book and the trading of the day again.

An instrument with orders, candles or pruned history is refused, and nothing changes.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import islice
from typing import Any, NamedTuple

from django.db import connection, transaction

from instruments.grid import OffGrid
from instruments.models import Instrument
from marketdata.models import BookSequence, Candle
from matching.models import PrunedHistory
from operators.instruments import InstrumentError, bound_statements, fence, has_orders, lock_in_partition
from operators.random_past import PastMinute, PriceRange, random_past
from orders.models import Order

TRADE_NOTIONAL = Decimal(1_800)  # Mean price * quantity of a made trade.
MADE_SEQUENCE = 1  # The number of the book's sequence that the whole made past has.
ROWS_PER_STATEMENT = 1_000
MINUTE = timedelta(minutes=1)


class MadePast(NamedTuple):
    """An instrument, and the price at which its made past ends."""

    instrument: Instrument
    price: Decimal


def refuse_used(instrument: Instrument) -> None:
    """Raise InstrumentError if the instrument has any history."""
    if has_orders(instrument):
        raise InstrumentError(
            f"{instrument.symbol} has history already: orders, candles or a made past. "
            "Only an instrument that was never traded can have a past made"
        )


def make_history(pasts: Sequence[MadePast], *, minutes: int, seed: int) -> Iterator[int]:
    """Make pasts of so many minutes that end now. Yield the number of each step's minutes.

    The last minute is the one before the current minute. Everything is committed after the last
    step. The same seed, symbol, limits, price and end give the same candles. Raises InstrumentError
    if an instrument has history or a price is not allowed, and django.db.Error. Then nothing is
    written.
    """
    with transaction.atomic():
        bound_statements()
        times = _minutes_until_now(minutes)
        for instrument, price in pasts:
            refuse_used(instrument)
            past = _random_past(instrument, times, price=price, seed=seed)
            candles = (_candle(instrument, time, minute) for time, minute in zip(times, past, strict=True))
            while rows := list(islice(candles, ROWS_PER_STATEMENT)):
                Candle.objects.bulk_create(rows)
                yield len(rows)
        # Workers wait for these locks, so they come last.
        for partition in sorted({past.instrument.partition for past in pasts}):
            _fence(partition)
        for instrument, _ in sorted(pasts, key=lambda past: past.instrument.pk):
            _mark(instrument, times[-1])


def _fence(partition: int) -> None:
    if not fence(partition):
        raise InstrumentError(
            f"no worker has matched partition {partition} yet: start the exchange and try again"
        )


def _mark(instrument: Instrument, end: datetime) -> None:
    """Mark the made past. Raises InstrumentError if the instrument was used in the meantime."""
    lock_in_partition(instrument)
    rows: list[Any] = [
        model.objects.filter(instrument=instrument) for model in (BookSequence, PrunedHistory, Order)
    ]
    if any(found.exists() for found in rows):
        raise InstrumentError(f"{instrument.symbol} was used in the meantime. Nothing was changed")
    BookSequence.objects.create(instrument=instrument, sequence=MADE_SEQUENCE)
    PrunedHistory.objects.create(instrument=instrument, sequence=MADE_SEQUENCE, time=end)


def _minutes_until_now(minutes: int) -> list[datetime]:
    """Return the starts of the last whole minutes, in order, by the database's clock."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT date_trunc('minute', clock_timestamp())")
        (now,) = cursor.fetchone()
    return [now - count * MINUTE for count in range(minutes, 0, -1)]


def _random_past(
    instrument: Instrument, times: list[datetime], *, price: Decimal, seed: int
) -> Iterator[PastMinute]:
    grid = instrument.grid
    if not instrument.min_price <= price <= instrument.max_price:
        raise InstrumentError(
            f"{instrument.symbol} has prices from {instrument.min_price.normalize():f} "
            f"to {instrument.max_price.normalize():f}"
        )
    try:
        close_ticks = grid.price.steps(price)
    except OffGrid as error:
        raise InstrumentError(f"the price {price:f} of {instrument.symbol}: {error}") from None
    quantity = min(max(TRADE_NOTIONAL / price, instrument.min_quantity), instrument.max_quantity)
    return random_past(
        times,
        seed=f"{seed} {instrument.symbol}",
        close_ticks=close_ticks,
        trade_lots=max(1, int(quantity / instrument.lot_size)),
        allowed=PriceRange(grid.price.steps(instrument.min_price), grid.price.steps(instrument.max_price)),
    )


def _candle(instrument: Instrument, time: datetime, minute: PastMinute) -> Candle:
    grid = instrument.grid
    return Candle(
        instrument=instrument,
        time=time,
        open=Decimal(grid.price.text(minute.open_ticks)),
        high=Decimal(grid.price.text(minute.high_ticks)),
        low=Decimal(grid.price.text(minute.low_ticks)),
        close=Decimal(grid.price.text(minute.close_ticks)),
        volume=Decimal(grid.quantity.text(minute.volume_lots)),
        notional=Decimal(grid.notional_text(minute.tick_lots)),
        trade_count=minute.trade_count,
    )
