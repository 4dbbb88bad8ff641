"""The stream's candles, on a clock that tests set: what is sent, and when a candle closes."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from pytest_django.fixtures import Settings

from marketdata.candles import CANDLE_INTERVALS
from marketdata.messages import Minute
from streaming.candle_audience import CandleAudience
from streaming.tape import Tape
from tests.streaming.feeds import Listener, instrument

SYMBOL = "CANDLE-USD"
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


class Market:
    """A tape that has been read, the audience of its candles, and a clock."""

    def __init__(self, interval: str, throttle_seconds: float) -> None:
        self.now = NOON
        self._tape = Tape(instrument(SYMBOL), on_read=lambda: None)
        self._tape.known.set()
        self._trades: dict[datetime, int] = {}
        self.candles = CandleAudience(
            interval_seconds=throttle_seconds,
            symbol=SYMBOL,
            name=interval,
            interval=CANDLE_INTERVALS[interval],
            tape=self._tape,
            clock=lambda: self.now,
        )

    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        self.candles.on_tick()

    def trade(self, start: datetime, price: int = 10) -> None:
        """Add a trade to the minute that begins at `start`."""
        exact = Decimal(price)
        count = self._trades[start] = self._trades.get(start, 0) + 1
        minute = Minute(start, exact, exact, exact, exact, Decimal(count), count * exact, count)
        self.candles.before_minute(minute)
        self._tape.on_minute(minute)
        self.candles.touch()

    def load_minute(self, start: datetime, trades: int) -> None:
        """Give the tape a minute from the database, which no batch has announced."""
        one, count = Decimal(1), Decimal(trades)
        self._tape.on_minute(Minute(start, one, one, one, one, count, count, trades))


def candles_sent(
    act: Callable[[Market], None], *, interval: str = "1m", throttle_seconds: float = 0.0
) -> list[tuple[str, int, bool]]:
    """Return the candles that a follower receives: time of day, trades, whether closed."""

    async def scenario() -> list[tuple[str, int, bool]]:
        async with Listener().reading() as client:
            market = Market(interval, throttle_seconds)
            market.candles.join(client.outbox)
            act(market)
            market.candles.close()
            client.outbox.put('{"type":"end"}')
            candles = []
            while (message := await client.next())["type"] != "end":
                assert message["interval"] == interval
                candles.append((message["time"][11:16], message["trade_count"], message["closed"]))
            return candles

    return asyncio.run(scenario())


@pytest.mark.parametrize(("interval", "seconds"), [("1m", 60), ("5m", 300), ("4h", 14_400), ("1d", 43_200)])
@pytest.mark.parametrize("throttle_seconds", [0.0, 60.0])
def test_a_candle_without_further_trades_closes_once_at_its_end(
    interval: str, seconds: int, throttle_seconds: float
) -> None:
    def act(market: Market) -> None:
        market.trade(NOON)
        market.pass_time(seconds - 0.001)
        market.pass_time(0.5)
        market.pass_time(0.5)
        market.pass_time(3 * seconds)

    start = "00:00" if interval == "1d" else "12:00"
    candles = candles_sent(act, interval=interval, throttle_seconds=throttle_seconds)
    assert candles == [(start, 1, False), (start, 1, True)]


def test_trades_that_arrive_just_after_a_candles_end_still_count(settings: Settings) -> None:
    settings.STREAM_CANDLE_CLOSE_SECONDS = 0.2

    def act(market: Market) -> None:
        market.trade(NOON)
        market.pass_time(60.1)
        market.trade(NOON)
        market.pass_time(0.2)

    assert candles_sent(act) == [("12:00", 1, False), ("12:00", 2, True)]


def test_a_trade_in_the_next_candle_closes_the_previous_one_first() -> None:
    def act(market: Market) -> None:
        market.trade(NOON)
        market.trade(NOON)  # is held back by the throttle
        market.now += timedelta(seconds=60)
        market.trade(NOON + timedelta(minutes=1))
        market.pass_time(1)

    candles = candles_sent(act, throttle_seconds=60.0)
    # The throttle holds the next candle back, too.
    assert candles == [("12:00", 1, False), ("12:00", 2, True)]


def test_a_worker_whose_clock_is_ahead_closes_the_candle_early() -> None:
    def act(market: Market) -> None:
        market.trade(NOON)
        market.trade(NOON + timedelta(minutes=1))  # the API's clock shows 12:00:00
        market.pass_time(61)
        market.pass_time(60)

    assert candles_sent(act) == [
        *[("12:00", 1, False), ("12:00", 1, True)],
        *[("12:01", 1, False), ("12:01", 1, True)],
    ]


def test_a_worker_whose_clock_is_behind_changes_a_closed_candle() -> None:
    """A candle that changes after it was closed is sent again, still closed."""

    def act(market: Market) -> None:
        market.pass_time(120)
        market.trade(NOON)
        market.pass_time(1)
        market.trade(NOON)
        market.pass_time(1)

    assert candles_sent(act) == [("12:00", 1, True), ("12:00", 2, True)]


def test_all_candles_that_ended_during_an_interruption_are_sent() -> None:
    def act(market: Market) -> None:
        market.trade(NOON)
        market.now += timedelta(minutes=3)
        market.candles.restart()
        market.load_minute(NOON + timedelta(minutes=1), trades=7)
        market.load_minute(NOON + timedelta(minutes=3), trades=8)
        market.candles.touch()

    assert candles_sent(act) == [
        ("12:00", 1, False),
        *[("12:00", 1, True), ("12:01", 7, True), ("12:03", 8, False)],
    ]


def test_a_new_follower_receives_only_the_open_candle() -> None:
    def act(market: Market) -> None:
        market.trade(NOON)

    assert candles_sent(act) == [("12:00", 1, False)]

    async def scenario() -> None:
        market = Market("1m", 0.0)
        market.trade(NOON)
        async with Listener().reading() as early, Listener().reading() as late:
            market.candles.join(early.outbox)
            assert (await early.expect("candle"))["closed"] is False
            market.pass_time(90)
            market.candles.join(late.outbox)
            late.outbox.put('{"type":"end"}')
            await late.expect("end")

    asyncio.run(scenario())
