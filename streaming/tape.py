"""The trading of the last day, minute by minute: what tickers and open candles are made of.

It is read from the database once, and then follows the batches. Each bears its minute whole, so that a lost one
does no harm beyond the end of its minute, and after a loss it is read again.
"""

import asyncio
import functools
import itertools
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal

import msgspec

from base.database import read_database
from base.numbers import EXACT
from marketdata.candles import candle_start
from marketdata.documents import Statistics
from marketdata.messages import Minute
from marketdata.selectors import TICKER_WINDOW, DayOfTrading, read_day, window_start
from orders.instruments import TradedInstrument
from streaming.attempts import attempt_until_done

NO_TRADING = Statistics(0, Decimal(0), Decimal(0), None, None, None, None)


class Tape:
    """Of one instrument, in one API process; empty until it is read for the first time."""

    def __init__(self, instrument: TradedInstrument, on_read: Callable[[], None]) -> None:
        self.last: Decimal | None = None  # price ever
        self.known = asyncio.Event()
        self._instrument = instrument
        self._on_read = on_read
        self._minutes: dict[datetime, Minute] = {}  # in order, those of the ticker's window
        self._ended: Minute | None = (
            None  # all but the last of them, together; None where that must be summed
        )
        self._reading: asyncio.Task[None] | None = None
        self._heard: dict[datetime, Minute] = {}  # while it is being read

    @property
    def newest(self) -> datetime | None:
        """The start of the last minute with a trade in it."""
        return next(reversed(self._minutes), None)

    @property
    def is_wanted(self) -> bool:
        return self.known.is_set() or self._reading is not None

    def read(self) -> None:
        """Read it, or read it again; it stays as it is until then."""
        if self._reading is not None:
            self._reading.cancel()
        self._reading = asyncio.create_task(self._read_until_known(), name=f"tape {self._instrument.symbol}")

    def on_minute(self, minute: Minute) -> None:
        """A minute as it stands after a batch; where nobody wants the tape it is not kept."""
        if self._reading is not None:
            self._heard[minute.start] = minute
        known = self._minutes.get(minute.start)
        if not self.is_wanted or (known is not None and known.trade_count >= minute.trade_count):
            return
        newest = self.newest or minute.start
        self._minutes[minute.start] = minute
        if minute.start != newest:
            self._ended = None
        if minute.start < newest:  # another worker's clock is behind
            self._minutes = dict(sorted(self._minutes.items()))
        self._forget(window_start(minute.start, TICKER_WINDOW))
        self.last = minute.close

    def statistics(self, now: datetime) -> Statistics:
        """Of the ticker's window."""
        self._forget(window_start(now, TICKER_WINDOW))
        if not self._minutes:
            return NO_TRADING
        *ended, last = self._minutes.values()
        if ended and self._ended is None:
            self._ended = _together(ended)
        day = _together([self._ended, last]) if self._ended is not None else last
        return Statistics(
            trade_count=day.trade_count,
            volume=day.volume,
            notional=day.notional,
            open=day.open,
            high=day.high,
            low=day.low,
            last=day.close,
        )

    def candles(self, interval: timedelta, since: datetime) -> list[Minute]:
        """The candles of an interval that start at `since` or later and have trades, in order.

        The interval is at most the window.
        """
        minutes = itertools.takewhile(lambda minute: minute.start >= since, reversed(self._minutes.values()))
        grouped = itertools.groupby(
            list(minutes)[::-1], key=lambda minute: candle_start(minute.start, interval)
        )
        return [msgspec.structs.replace(_together(list(some)), start=start) for start, some in grouped]

    def _forget(self, since: datetime) -> None:
        """What lies before the window."""
        while self._minutes and (first := next(iter(self._minutes))) < since:
            del self._minutes[first]
            self._ended = None

    async def _read_until_known(self) -> None:
        day = await attempt_until_done(self._read_once, f"the day's trading of {self._instrument.symbol}")
        self._reading = None
        self._minutes = {minute.start: minute for minute in day.minutes}
        self._ended = None
        self.last = day.last
        self.known.set()
        for _, minute in sorted(self._heard.items()):
            self.on_minute(minute)
        self._heard.clear()
        self._on_read()

    async def _read_once(self) -> DayOfTrading:
        self._heard.clear()
        return await read_database(read_day, instrument_id=self._instrument.instrument_id)


def _together(minutes: list[Minute]) -> Minute:
    """Minutes in order as one that begins with the first; at least one."""
    return Minute(
        minutes[0].start,
        open=minutes[0].open,
        high=max(minute.high for minute in minutes),
        low=min(minute.low for minute in minutes),
        close=minutes[-1].close,
        volume=functools.reduce(EXACT.add, (minute.volume for minute in minutes)),
        notional=functools.reduce(EXACT.add, (minute.notional for minute in minutes)),
        trade_count=sum(minute.trade_count for minute in minutes),
    )
