"""Candles of the stream by a clock that tests set: which states are told, and when they are closed."""

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
    """A tape that was read, followers of its candles, and the time."""

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
        """The minute that begins at `start` has one more trade."""
        exact = Decimal(price)
        count = self._trades[start] = self._trades.get(start, 0) + 1
        minute = Minute(start, exact, exact, exact, exact, Decimal(count), count * exact, count)
        self.candles.before_minute(minute)
        self._tape.on_minute(minute)
        self.candles.touch()

    def read_again(self, start: datetime, trades: int) -> None:
        """The tape has a minute that no batch has told."""
        one, count = Decimal(1), Decimal(trades)
        self._tape.on_minute(Minute(start, one, one, one, one, count, count, trades))


def heard(
    act: Callable[[Market], None], *, interval: str = "1m", throttle_seconds: float = 0.0
) -> list[tuple[str, int, bool]]:
    """What a follower is told: the time of day, the trades and whether it is closed."""

    async def scenario() -> list[tuple[str, int, bool]]:
        async with Listener().reading() as client:
            market = Market(interval, throttle_seconds)
            market.candles.join(client.outbox)
            act(market)
            market.candles.close()
            client.outbox.put('{"type":"end"}')
            told = []
            while (message := await client.next())["type"] != "end":
                assert message["interval"] == interval
                told.append((message["time"][11:16], message["trade_count"], message["closed"]))
            return told

    return asyncio.run(scenario())


@pytest.mark.parametrize(("interval", "seconds"), [("1m", 60), ("5m", 300), ("4h", 14_400), ("1d", 43_200)])
@pytest.mark.parametrize("throttle_seconds", [0.0, 60.0])
def test_a_candle_is_closed_once_when_it_ends_without_another_trade(
    interval: str, seconds: int, throttle_seconds: float
) -> None:
    def act(market: Market) -> None:
        market.trade(NOON)
        market.pass_time(seconds - 0.001)
        market.pass_time(0.5)
        market.pass_time(0.5)
        market.pass_time(3 * seconds)

    start = "00:00" if interval == "1d" else "12:00"
    told = heard(act, interval=interval, throttle_seconds=throttle_seconds)
    assert told == [(start, 1, False), (start, 1, True)]


def test_the_last_trades_of_a_candle_may_arrive_just_after_its_end(settings: Settings) -> None:
    settings.STREAM_CANDLE_CLOSE_SECONDS = 0.2

    def act(market: Market) -> None:
        market.trade(NOON)
        market.pass_time(60.1)
        market.trade(NOON)
        market.pass_time(0.2)

    assert heard(act) == [("12:00", 1, False), ("12:00", 2, True)]


def test_a_trade_of_the_next_candle_closes_the_one_before_first() -> None:
    def act(market: Market) -> None:
        market.trade(NOON)
        market.trade(NOON)  # waits for its turn
        market.now += timedelta(seconds=60)
        market.trade(NOON + timedelta(minutes=1))
        market.pass_time(1)

    told = heard(act, throttle_seconds=60.0)
    assert told == [("12:00", 1, False), ("12:00", 2, True)]  # the next one waits for its turn, too


def test_a_clock_of_the_worker_that_is_ahead() -> None:
    def act(market: Market) -> None:
        market.trade(NOON)
        market.trade(NOON + timedelta(minutes=1))  # it is 12:00:00 here: nothing more comes of that candle
        market.pass_time(61)
        market.pass_time(60)

    assert heard(act) == [
        *[("12:00", 1, False), ("12:00", 1, True)],
        *[("12:01", 1, False), ("12:01", 1, True)],
    ]


def test_a_clock_of_the_worker_that_is_behind() -> None:
    """What was told as closed is told again, closed, when it changes."""

    def act(market: Market) -> None:
        market.pass_time(120)
        market.trade(NOON)
        market.pass_time(1)
        market.trade(NOON)
        market.pass_time(1)

    assert heard(act) == [("12:00", 1, True), ("12:00", 2, True)]


def test_candles_that_ended_while_nothing_was_heard_are_all_told() -> None:
    def act(market: Market) -> None:
        market.trade(NOON)
        market.now += timedelta(minutes=3)
        market.candles.restart()
        market.read_again(NOON + timedelta(minutes=1), trades=7)
        market.read_again(NOON + timedelta(minutes=3), trades=8)
        market.candles.touch()

    assert heard(act) == [
        ("12:00", 1, False),
        *[("12:00", 1, True), ("12:01", 7, True), ("12:03", 8, False)],
    ]


def test_a_new_follower_hears_the_open_candle_only() -> None:
    def act(market: Market) -> None:
        market.trade(NOON)

    assert heard(act) == [("12:00", 1, False)]

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
