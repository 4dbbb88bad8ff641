"""The tape: the trading of the last day by minutes, from which tickers and open candles are made.

The tape is read from the database once, and then follows the batches. Each batch with trades has
the whole minute so far, so a lost batch is repaired by the next one of the same minute. After a
lost batch, the tape is also read again.
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
from instruments.directory import TradedInstrument
from marketdata.candles import candle_start
from marketdata.documents import Statistics
from marketdata.messages import Minute
from marketdata.selectors import TICKER_WINDOW, DayOfTrading, read_day, window_start
from streaming.attempts import attempt_until_done

NO_TRADING = Statistics(0, Decimal(0), Decimal(0), None, None, None, None)


class Tape:
    """The tape of one instrument in one API process. It is empty until it is read."""

    def __init__(self, instrument: TradedInstrument, on_read: Callable[[], None]) -> None:
        self.last: Decimal | None = None  # the last price ever
        self.known = asyncio.Event()  # set once the tape is read
        self._instrument = instrument
        self._on_read = on_read
        self._minutes: dict[datetime, Minute] = {}  # the minutes of the ticker's window, in order
        # The merged minutes except the last one; None if they must be merged again.
        self._merged: Minute | None = None
        self._reading: asyncio.Task[None] | None = None
        self._heard: dict[datetime, Minute] = {}  # minutes that arrived since the read began

    @property
    def newest(self) -> datetime | None:
        """The start of the last minute with a trade."""
        return next(reversed(self._minutes), None)

    @property
    def is_wanted(self) -> bool:
        return self.known.is_set() or self._reading is not None

    def read(self) -> None:
        """Read the tape, or read it again. Its old content stays until the read is done."""
        if self._reading is not None:
            self._reading.cancel()
        self._reading = asyncio.create_task(self._read_until_known(), name=f"tape {self._instrument.symbol}")

    def on_minute(self, minute: Minute) -> None:
        """Store the state of a minute after a batch, unless no client needs the tape."""
        if self._reading is not None:
            self._heard[minute.start] = minute
        known = self._minutes.get(minute.start)
        if not self.is_wanted or (known is not None and known.trade_count >= minute.trade_count):
            return
        newest = self.newest or minute.start
        self._minutes[minute.start] = minute
        if minute.start != newest:
            self._merged = None
        if minute.start < newest:  # The clock of a new worker may be behind.
            self._minutes = dict(sorted(self._minutes.items()))
        self._drop_before(window_start(minute.start, TICKER_WINDOW))
        self.last = minute.close

    def statistics(self, now: datetime) -> Statistics:
        """Return the statistics of the ticker's window."""
        self._drop_before(window_start(now, TICKER_WINDOW))
        if not self._minutes:
            return NO_TRADING
        *ended, last = self._minutes.values()
        if ended and self._merged is None:
            self._merged = _merge(ended)
        day = _merge([self._merged, last]) if self._merged is not None else last
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
        """Return an interval's candles that start at `since` or later and have trades, in order.

        The interval is at most the ticker's window.
        """
        minutes = itertools.takewhile(lambda minute: minute.start >= since, reversed(self._minutes.values()))
        grouped = itertools.groupby(
            list(minutes)[::-1], key=lambda minute: candle_start(minute.start, interval)
        )
        return [msgspec.structs.replace(_merge(list(group)), start=start) for start, group in grouped]

    def _drop_before(self, since: datetime) -> None:
        """Drop the minutes before `since`."""
        while self._minutes and (first := next(iter(self._minutes))) < since:
            del self._minutes[first]
            self._merged = None

    async def _read_until_known(self) -> None:
        day = await attempt_until_done(self._read_once, f"the day's trading of {self._instrument.symbol}")
        self._reading = None
        self._minutes = {minute.start: minute for minute in day.minutes}
        self._merged = None
        self.last = day.last
        self.known.set()
        for _, minute in sorted(self._heard.items()):
            self.on_minute(minute)
        self._heard.clear()
        self._on_read()

    async def _read_once(self) -> DayOfTrading:
        self._heard.clear()
        return await read_database(read_day, instrument_id=self._instrument.instrument_id)


def _merge(minutes: list[Minute]) -> Minute:
    """Merge one or more minutes, given in order, into one that starts with the first."""
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
