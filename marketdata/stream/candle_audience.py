"""Followers of one interval's candles: the open one as it changes, and each closed state.

The clock of this process says which candles are over. A trade of a later candle says so too, because the worker's
clock has passed the earlier one. If a worker's clock is behind, trades of a candle that was told as closed still
come; it is told again, closed.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import msgspec
from django.conf import settings

from marketdata.candles import candle_start
from marketdata.documents import candle_of
from marketdata.messages import CandleMessage, Minute
from marketdata.selectors import TICKER_WINDOW, window_start
from marketdata.stream.audiences import StateAudience
from marketdata.stream.tape import Tape
from rest.encoding import encode_json

RESOLUTION = timedelta(microseconds=1)


class CandleAudience(StateAudience):
    """Of one instrument, interval and pace. A closed state does not wait for the pace."""

    def __init__(
        self,
        *,
        interval_seconds: float,
        symbol: str,
        name: str,
        interval: timedelta,
        tape: Tape,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`name` is the interval's in messages."""
        super().__init__(interval_seconds, self._write_changed, self._write_open)
        self._symbol = symbol
        self._name = name
        self._interval = interval
        self._tape = tape
        self._clock = clock
        self._open_since = candle_start(clock(), interval)  # the first candle that was not told as closed
        self._told: datetime | None = None  # the start of the newest candle that was told

    def before_minute(self, minute: Minute) -> None:
        """A minute is about to come to the tape."""
        start = candle_start(minute.start, self._interval)
        newest = self._tape.newest
        if newest is not None and start > candle_start(newest, self._interval) >= self._open_since:
            self._pace.stop()
            self._tell_until(start)  # the last state of the candle before, which is over
        self._open_since = min(self._open_since, start)

    def restart(self) -> None:
        """Trades may have been missed: the newest candle that was told may have changed."""
        if self._told is not None:
            self._open_since = min(self._open_since, self._told)

    def on_tick(self) -> None:
        """Tell candles that ended STREAM_CANDLE_CLOSE_SECONDS ago: their last trades were on the way until then."""
        now = self._clock() - timedelta(seconds=settings.STREAM_CANDLE_CLOSE_SECONDS)
        over_before = candle_start(now, self._interval)
        newest = self._tape.newest
        if newest is not None and self._open_since <= candle_start(newest, self._interval) < over_before:
            self._pace.run()

    def _tell_until(self, over_before: datetime) -> None:
        for text in self._messages(over_before):
            self.send(text)

    def _write_changed(self) -> list[str]:
        """All candles from the first one that was not told as closed."""
        return self._messages(candle_start(self._clock(), self._interval))

    def _write_open(self) -> list[str]:
        """The open candle, if there was a trade in it."""
        since = candle_start(self._clock(), self._interval)
        return [self._message(candle, closed=False) for candle in self._tape.candles(self._interval, since)]

    def _messages(self, over_before: datetime) -> list[str]:
        oldest = window_start(self._clock(), TICKER_WINDOW)
        if self._open_since < oldest:  # the tape has only a part of that candle
            self._open_since = candle_start(oldest - RESOLUTION, self._interval) + self._interval
        candles = self._tape.candles(self._interval, self._open_since)
        if candles:
            self._told = candles[-1].start
            is_over = self._told < over_before
            self._open_since = self._told + self._interval if is_over else self._told
        return [
            self._message(candle, closed=candle.start < over_before or candle is not candles[-1])
            for candle in candles
        ]

    def _message(self, candle: Minute, *, closed: bool) -> str:
        document = candle_of(candle, candle.start, closed=closed)
        message = CandleMessage(
            instrument=self._symbol, interval=self._name, **msgspec.structs.asdict(document)
        )
        return encode_json(message).decode()
