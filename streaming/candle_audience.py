"""Followers of one interval's candles: they get the open candle's changes and each closed candle.

A candle is closed once this process's clock is after its end, or once a trade of a later candle
arrives, because then the worker's clock is after its end. If the worker's clock is behind, trades
may arrive for a candle that was already sent as closed. Then the candle is sent as closed again.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import msgspec
from django.conf import settings

from base.encoding import encode_json
from marketdata.candles import candle_of, candle_start
from marketdata.messages import CandleMessage, Minute
from marketdata.selectors import TICKER_WINDOW, window_start
from streaming.audiences import StateAudience
from streaming.tape import Tape

RESOLUTION = timedelta(microseconds=1)  # of timestamps


class CandleAudience(StateAudience):
    """Followers of one instrument, interval and pace. Closed candles do not wait for the pace."""

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
        """Create an audience without followers. `name` is the interval's name in messages."""
        super().__init__(interval_seconds, self._write_changed, self._write_open)
        self._symbol = symbol
        self._name = name
        self._interval = interval
        self._tape = tape
        self._clock = clock
        self._open_since = candle_start(clock(), interval)  # the first candle not sent as closed
        self._newest_sent: datetime | None = None  # the start of the newest candle that was sent

    def before_minute(self, minute: Minute) -> None:
        """Before the tape gets `minute`, send the newest candle as closed if `minute` is later."""
        start = candle_start(minute.start, self._interval)
        newest = self._tape.newest
        if newest is not None and start > candle_start(newest, self._interval) >= self._open_since:
            self._pace.stop()
            self._send_until(start)
        self._open_since = min(self._open_since, start)

    def restart(self) -> None:
        """Plan to send the newest candle again, because some of its trades may have been missed."""
        if self._newest_sent is not None:
            self._open_since = min(self._open_since, self._newest_sent)

    def on_tick(self) -> None:
        """Send candles as closed that ended STREAM_CANDLE_CLOSE_SECONDS ago.

        Before that, their last trades may still be on the way.
        """
        now = self._clock() - timedelta(seconds=settings.STREAM_CANDLE_CLOSE_SECONDS)
        over_before = candle_start(now, self._interval)
        newest = self._tape.newest
        if newest is not None and self._open_since <= candle_start(newest, self._interval) < over_before:
            self._pace.run()

    def _send_until(self, over_before: datetime) -> None:
        for text in self._messages(over_before):
            self.send(text)

    def _write_changed(self) -> list[str]:
        """Return the messages of all candles from the first one that was not sent as closed."""
        return self._messages(candle_start(self._clock(), self._interval))

    def _write_open(self) -> list[str]:
        """Return the message of the open candle, if it has a trade."""
        since = candle_start(self._clock(), self._interval)
        return [self._message(candle, closed=False) for candle in self._tape.candles(self._interval, since)]

    def _messages(self, over_before: datetime) -> list[str]:
        oldest = window_start(self._clock(), TICKER_WINDOW)
        if self._open_since < oldest:  # The tape has only a part of that candle.
            self._open_since = candle_start(oldest - RESOLUTION, self._interval) + self._interval
        candles = self._tape.candles(self._interval, self._open_since)
        if candles:
            self._newest_sent = candles[-1].start
            is_over = self._newest_sent < over_before
            self._open_since = self._newest_sent + self._interval if is_over else self._newest_sent
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
