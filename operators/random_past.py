"""A made past for laboratories: one-minute candles of a random walk that ends at a chosen price.

The walk has calm and nervous times, trends of an hour or two, and the volume of a day: much in the
European afternoon, little in the American night. All arithmetic is of whole numbers, so the same
seed gives the same candles on every machine. No input and output, no clock.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import pairwise
from random import Random
from typing import NamedTuple

MILLION = 1_000_000  # Returns are in millionths of the price.
RETURN_DEVIATION = 350  # Standard deviation of a calm minute's return.
WICK_DEVIATION = 160  # How far a minute's high and low exceed its open and close.
TREND_DEVIATION = 18  # Standard deviation of a trend's return in a minute.
TREND_MINUTES = 90  # Mean length of a trend.

THOUSAND = 1_000  # Heat is in thousandths of that of a calm minute.
HEAT_FADE_MINUTES = 25  # In a minute, heat loses its excess divided by this.
SHOCK_MINUTES = 140  # Mean time between two shocks.
SHOCK_HEAT_MAX = 2_800

TRADES_PER_MINUTE = 80  # Of a calm minute in a mean hour.
# Trading in each hour in UTC, as a percentage of the mean.
HOURS = (
    74,
    78,
    72,
    66,
    62,
    62,
    68,
    84,
    98,
    104,
    100,
    98,
    108,
    134,
    158,
    160,
    146,
    128,
    114,
    104,
    104,
    98,
    84,
    76,
)
MINUTES_PER_HOUR = 60

_HALF = 2**15  # Half of the range of each of the four numbers that make a normal one.
_DEVIATION = 37_837  # Standard deviation of the sum of four numbers of 16 bits.


class PriceRange(NamedTuple):
    """The prices that an instrument allows, in ticks."""

    low_ticks: int
    high_ticks: int

    def clip(self, ticks: int) -> int:
        return min(max(ticks, self.low_ticks), self.high_ticks)


class PastMinute(NamedTuple):
    """A minute of trading, in ticks and lots. `tick_lots` is its notional."""

    open_ticks: int
    high_ticks: int
    low_ticks: int
    close_ticks: int
    volume_lots: int
    tick_lots: int
    trade_count: int


def random_past(
    times: Sequence[datetime], *, seed: str, close_ticks: int, trade_lots: int, allowed: PriceRange
) -> Iterator[PastMinute]:
    """Yield the trading of each minute, of which the last closes at `close_ticks`.

    `times` are the starts of the minutes, in order. `trade_lots` is the mean quantity of a trade.
    """
    random = Random(seed)  # noqa: S311 - reproducible on purpose
    heats = list(_heats(random, len(times)))
    # The walk is made forwards, so that each shock fades with time, but its prices are known from the
    # end. They are in millionths of ticks, or coarse ticks would swallow small returns.
    returns = list(_returns(random, heats))
    price = close_ticks * MILLION
    closes = [close_ticks]
    for step in reversed(returns):
        price = price * MILLION // (MILLION + step)
        closes.append(allowed.clip((price + MILLION // 2) // MILLION))
    closes.reverse()
    for time, heat, (opened, closed) in zip(times, heats, pairwise(closes), strict=True):
        wicks = [abs(_normal(random, WICK_DEVIATION * heat // THOUSAND)) for _ in range(2)]
        high = allowed.clip(max(opened, closed) * (MILLION + wicks[0]) // MILLION)
        low = allowed.clip(min(opened, closed) * (MILLION - wicks[1]) // MILLION)
        trades = 1 + TRADES_PER_MINUTE * _activity(time) * heat * random.randrange(60, 141) // 10_000_000
        volume = _round(trades * trade_lots * random.randrange(50, 151) // 100)
        mean = (opened + high + low + closed) // 4
        yield PastMinute(opened, high, low, closed, volume, mean * volume, trades)


def _heats(random: Random, minutes: int) -> Iterator[int]:
    """Yield how nervous each minute is, in thousandths. Shocks come seldom, and fade slowly."""
    heat = THOUSAND
    for _ in range(minutes):
        heat += (THOUSAND - heat) // HEAT_FADE_MINUTES + _normal(random, 40)
        if random.randrange(SHOCK_MINUTES) == 0:
            heat += random.randrange(SHOCK_HEAT_MAX)
        heat = min(max(heat, THOUSAND // 2), THOUSAND + 2 * SHOCK_HEAT_MAX)
        yield heat


def _returns(random: Random, heats: Sequence[int]) -> Iterator[int]:
    """Yield each minute's return in millionths: the trend's and noise."""
    trend = 0
    for heat in heats:
        if random.randrange(TREND_MINUTES) == 0:
            trend = _normal(random, TREND_DEVIATION)
        yield trend + _normal(random, RETURN_DEVIATION * heat // THOUSAND)


def _normal(random: Random, deviation: int) -> int:
    """Return a number that is about normal, with mean 0 and at most 3.5 deviations."""
    total = sum(random.getrandbits(16) for _ in range(4))
    return ((total - 4 * _HALF) * deviation + _DEVIATION // 2) // _DEVIATION


def _activity(time: datetime) -> int:
    """Return the trading to expect at a time of the day, as a percentage of the mean."""
    here, there = HOURS[time.hour], HOURS[(time.hour + 1) % len(HOURS)]
    return here + (there - here) * time.minute // MINUTES_PER_HOUR


def _round(lots: int) -> int:
    """Return a quantity above 0 with at most five digits that are not 0, as people write them."""
    unit: int = 10 ** max(0, len(str(lots)) - 5)
    return max(1, lots // unit * unit)
