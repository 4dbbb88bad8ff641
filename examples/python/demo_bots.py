"""The bots of `make demo`: market makers around a fair price, and takers that follow a trend.

All bots of an instrument share its fair price: a random walk with calm and nervous times, trends,
and a weak pull to a home price, which keeps it sane for days. A bot outlives every outage of the
exchange: it waits, and goes on.
"""

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable
from datetime import timedelta
from decimal import Decimal
from random import Random
from typing import Any, NamedTuple

import httpx
from exchange_client import Market, Trader
from market_maker import MarketMaker, Quotes

RETRY_SECONDS = 1.0

STEP_SECONDS = 1.0  # Time between two steps of a fair price.
STEP = 0.000045  # Standard deviation of a step in calm times, as a part of the price.
TREND_SECONDS = 5_400.0  # Mean length of a trend.
TREND = 0.0000004  # Standard deviation of a trend's part in a step.
HOME_SECONDS = 40_000.0  # Time in which the way home shrinks to a third.
SHOCK_SECONDS = 8_400.0  # Mean time between two shocks.
SHOCK_MAX = 2.8
COOLING_SECONDS = 1_500.0
HEAT_MAX = 4.0

LEVELS = 10  # Prices of a maker on each side.
HALF_SPREAD = 0.00012
KEPT = 0.4  # An order stays if it is off by less than this part of the way to the next level.
MOVED_ANYWAY = 0.1  # Part of the orders that move anyway, which shows whether they are still open.
MAKER_NOTIONAL = 2_500.0  # Price * quantity of an order at the best level, on average.

TAKES_PER_SECOND = 0.9  # In calm times, for each instrument.
TAKES_PER_SECOND_MAX = 2.0
TAKER_NOTIONAL = 1_600.0  # The least of a taker's order. The mean is almost three times as much.
TAIL = 1.5  # Exponent of the sizes' Pareto distribution: the smaller, the more large orders.
TAIL_MAX = 60.0
TREND_FOLLOWED = 0.12  # How much more than half of the takers buy in a rising trend.
MARKET_ORDERS, IOC_ORDERS = 0.66, 0.30  # The rest are stops.
STOP_LIFE_SECONDS = 600
STOP_REACH = 0.0005  # How far behind its trigger a stop's limit is.


class MarketPlan(NamedTuple):
    """An instrument of the demo. The made past ends at the home price."""

    symbol: str
    home: Decimal
    tick: Decimal
    step: Decimal  # Quantities are multiples of it.

    def quantity(self, notional: float, price: Decimal) -> Decimal:
        return max(self.step, (Decimal(notional) / price).quantize(self.step))


PLANS = (
    MarketPlan("BTC-USD", Decimal(70_000), Decimal("0.01"), Decimal("0.0001")),
    MarketPlan("ETH-USD", Decimal(3_500), Decimal("0.01"), Decimal("0.001")),
    MarketPlan("SOL-USD", Decimal(150), Decimal("0.001"), Decimal("0.01")),
)


class FairPrice:
    """What one unit is worth. `heat` is 1 in calm times. `trend` is mostly between -1 and 1."""

    def __init__(self, price: Decimal, home: Decimal, random: Random) -> None:
        self.price = price
        self.heat = 1.0
        self.trend = random.gauss(0, 1)
        self._home = home
        self._random = random

    async def run(self) -> None:
        while True:
            await asyncio.sleep(STEP_SECONDS)
            self.step()

    def step(self) -> None:
        """Move the price by one step."""
        random = self._random
        if random.random() < STEP_SECONDS / TREND_SECONDS:
            self.trend = random.gauss(0, 1)
        if random.random() < STEP_SECONDS / SHOCK_SECONDS:
            self.heat = min(self.heat + random.uniform(0, SHOCK_MAX), HEAT_MAX)
        self.heat += (1 - self.heat) * STEP_SECONDS / COOLING_SECONDS
        move = TREND * self.trend + random.gauss(0, STEP * self.heat)
        homewards = (self._home - self.price) * Decimal(STEP_SECONDS / HOME_SECONDS)
        self.price += self.price * Decimal(move) + homewards


class DemoMaker(MarketMaker):
    """Quotes around the fair price. Levels further away are wider apart, and have more on them."""

    takes = 0.0

    def __init__(
        self, trader: Trader, market: Market, plan: MarketPlan, fair: FairPrice, random: Random
    ) -> None:
        super().__init__(trader, market, plan.symbol, price=fair.price, levels=LEVELS, random=random)
        self._plan = plan
        self._fair = fair

    def _next_price(self) -> Decimal:
        return self._fair.price * (1 + Decimal(self._random.gauss(0, HALF_SPREAD / 6)))

    def _wanted_prices(self) -> Quotes:
        """Return the price of each quote, asks first. Most orders that are near stay where they are."""
        prices = {}
        spread = HALF_SPREAD * math.sqrt(self._fair.heat)
        for side, sign in (("sell", 1), ("buy", -1)):
            for level in range(self._levels):
                gap = spread * (0.7 + 0.12 * level)
                distance = spread + gap * (level + self._random.uniform(-0.3, 0.3))
                wanted = (self._price * (1 + sign * Decimal(distance))).quantize(self._plan.tick)
                kept = self._prices.get((side, level))
                near = kept is not None and abs(kept - wanted) < self._price * Decimal(gap * KEPT)
                moves = not near or self._random.random() < MOVED_ANYWAY
                prices[side, level] = wanted if moves or kept is None else kept
        return prices

    def _quantity(self, level: int) -> Decimal:
        notional = MAKER_NOTIONAL * (1 + level) * self._random.uniform(0.4, 1.6)
        return self._plan.quantity(notional, self._price)


class Taker:
    """Trades one instrument with market orders, immediate-or-cancel orders and sometimes a stop-limit order."""

    def __init__(self, trader: Trader, plan: MarketPlan, fair: FairPrice, random: Random) -> None:
        self._trader = trader
        self._plan = plan
        self._fair = fair
        self._random = random

    async def run(self) -> None:
        """Trade until this task is cancelled, and then cancel the stops. Raises httpx.HTTPError."""
        try:
            while True:
                rate = min(TAKES_PER_SECOND * self._fair.heat, TAKES_PER_SECOND_MAX)
                await asyncio.sleep(max(self._random.expovariate(rate), 0.2 / rate))
                await self.trade()
        finally:
            await cancel_all(self._trader, self._plan.symbol)

    async def trade(self) -> None:
        """Send one order."""
        random, plan, price = self._random, self._plan, self._fair.price
        buyers = 0.5 + TREND_FOLLOWED * math.tanh(self._fair.trend)
        side = "buy" if random.random() < buyers else "sell"
        sign = 1 if side == "buy" else -1
        size = TAKER_NOTIONAL * min(random.paretovariate(TAIL), TAIL_MAX)
        quantity = plan.quantity(size * random.uniform(0.5, 1.0), price)
        terms: dict[str, Any] = {}
        limit: Decimal | None = None
        kind = random.random()
        if MARKET_ORDERS <= kind < MARKET_ORDERS + IOC_ORDERS:
            reach = Decimal(sign * HALF_SPREAD * random.uniform(0.8, 3.0))
            limit, terms = (price * (1 + reach)).quantize(plan.tick), {"time_in_force": "ioc"}
        elif kind >= MARKET_ORDERS + IOC_ORDERS:
            trigger = price * (1 + Decimal(sign * random.uniform(0.0005, 0.003)))
            limit = (trigger * (1 + Decimal(sign * STOP_REACH))).quantize(plan.tick)
            terms = {
                "type": "stop_limit",
                "trigger_price": trigger.quantize(plan.tick),
                "time_in_force": "gtd",
                "expires_at": await self._trader.time() + timedelta(seconds=STOP_LIFE_SECONDS),
            }
        await self._trader.place(plan.symbol, side, quantity, limit, **terms)


async def cancel_all(trader: Trader, instrument: str) -> None:
    """Cancel all of a client's orders of an instrument, if the exchange can be reached.

    If not, a maker's orders end with its dead man's switch, and a taker's stops expire.
    """
    with contextlib.suppress(httpx.HTTPError):
        await trader.cancel_all(instrument=instrument)


async def outlive_outages(run: Callable[[], Awaitable[None]]) -> None:
    """Call `run` again after each error of the exchange, until this task is cancelled."""
    while True:
        try:
            await run()
        except httpx.HTTPError:
            await asyncio.sleep(RETRY_SECONDS)
