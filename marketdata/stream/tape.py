"""The trading of the last day, minute by minute: what tickers and open candles are made of.

It is read from the database once, and then follows the batches. Each bears its minute whole, so that a lost one
does no harm beyond the end of its minute, and after a loss it is read again.
"""

import asyncio
import functools
import logging
from datetime import datetime, timedelta
from decimal import Decimal

from django.conf import settings

from marketdata.messages import Minute
from marketdata.selectors import TICKER_WINDOW, Statistics, candle_start, read_day, window_start
from orders.instruments import TradedInstrument
from rest.database import read_database
from rest.exceptions import Unavailable
from rest.numbers import EXACT

logger = logging.getLogger(__name__)

NO_TRADING = Statistics(0, Decimal(0), Decimal(0), None, None, None, None)


class Tape:
    """Of one instrument, in one API process."""

    def __init__(self, instrument: TradedInstrument) -> None:
        self.last: Decimal | None = None  # price ever
        self.known = asyncio.Event()
        self._instrument = instrument
        self._minutes: dict[datetime, Minute] = {}  # in order
        self._ended: tuple[datetime, datetime, Statistics] | None = (
            None  # of all but the last minute, by first and last
        )
        self._reading: asyncio.Task[None] | None = None

    @property
    def is_wanted(self) -> bool:
        return self.known.is_set() or self._reading is not None

    def read(self) -> None:
        """Read it, or read it again; it stays as it is until then."""
        if self._reading is not None:
            self._reading.cancel()
        self._reading = asyncio.create_task(self._read_until_known(), name=f"tape {self._instrument.symbol}")

    def on_minute(self, minute: Minute) -> None:
        known = self._minutes.get(minute.start)
        if known is not None and known.trade_count >= minute.trade_count:
            return
        newest = next(reversed(self._minutes), minute.start)
        self._minutes[minute.start] = minute
        if minute.start < newest:  # another worker's clock is behind
            self._minutes = dict(sorted(self._minutes.items()))
            self._ended = None
        self.last = self._minutes[max(newest, minute.start)].close

    def statistics(self, now: datetime) -> Statistics:
        """Of the ticker's window."""
        since = window_start(now, TICKER_WINDOW)
        while self._minutes and (first := next(iter(self._minutes))) < since:
            del self._minutes[first]
        if not self._minutes:
            return NO_TRADING
        first, last = next(iter(self._minutes)), next(reversed(self._minutes))
        if self._ended is None or self._ended[:2] != (first, last):
            ended = [minute for start, minute in self._minutes.items() if start != last]
            self._ended = first, last, _sum(NO_TRADING, ended)
        return _sum(self._ended[2], [self._minutes[last]])

    def candle(self, interval: timedelta, now: datetime) -> Minute | None:
        """The open candle of an interval of at most the window; None where nothing was traded in it yet."""
        start = candle_start(now, interval)
        minutes: list[Minute] = []
        for at in reversed(self._minutes):
            if at < start:
                break
            minutes.append(self._minutes[at])
        if not minutes:
            return None
        return Minute(
            start,
            open=minutes[-1].open,
            high=max(minute.high for minute in minutes),
            low=min(minute.low for minute in minutes),
            close=minutes[0].close,
            volume=functools.reduce(EXACT.add, (minute.volume for minute in minutes)),
            notional=functools.reduce(EXACT.add, (minute.notional for minute in minutes)),
            trade_count=sum(minute.trade_count for minute in minutes),
        )

    def close(self) -> None:
        if self._reading is not None:
            self._reading.cancel()

    async def _read_until_known(self) -> None:
        pause = settings.FEED_RETRY_SECONDS_MIN
        while True:
            try:
                day = await read_database(read_day, instrument_id=self._instrument.instrument_id)
            except Unavailable as error:
                logger.warning(
                    "%s: the day's trading can't be read yet: %s", self._instrument.symbol, error.detail
                )
            except Exception:
                logger.exception("%s: the day's trading can't be read", self._instrument.symbol)
            else:
                break
            await asyncio.sleep(pause)
            pause = min(2 * pause, settings.FEED_RETRY_SECONDS_MAX)
        self._reading = None
        heard, self._minutes = self._minutes, {minute.start: minute for minute in day.minutes}
        self._ended = None
        self.last = day.last
        for start in sorted(heard):
            if not self._minutes or start >= next(reversed(self._minutes)):
                self.on_minute(heard[start])
        self.known.set()


def _sum(before: Statistics, minutes: list[Minute]) -> Statistics:
    """Minutes in order, after others."""
    if not minutes:
        return before
    volume, notional, trade_count = before.volume, before.notional, before.trade_count
    high, low = (
        minutes[0].high if before.high is None else before.high,
        minutes[0].low if before.low is None else before.low,
    )
    for minute in minutes:
        volume = EXACT.add(volume, minute.volume)
        notional = EXACT.add(notional, minute.notional)
        trade_count += minute.trade_count
        high, low = max(high, minute.high), min(low, minute.low)
    return Statistics(
        trade_count=trade_count,
        volume=volume,
        notional=notional,
        open=minutes[0].open if before.open is None else before.open,
        high=high,
        low=low,
        last=minutes[-1].close,
    )
