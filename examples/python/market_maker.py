"""A market maker that quotes around a random walk: `python examples/python/market_maker.py`.

It keeps a post-only order at each of `--levels` prices on both sides. Every `--seconds` it moves its
own price by a random step, and all its orders with one request, so the book is never without them.
Orders that were filled are placed again. Sometimes it also sends a market order, towards its own
price. If it hangs, or its connection breaks, the exchange cancels its orders. Its orders and amends
must stay within the exchange's rate limits for one client.
"""

import argparse
import asyncio
import contextlib
import math
import signal
import sys
import time
from decimal import Decimal
from random import Random
from typing import Any

import httpx
from exchange_client import Market, Message, Trader, order_body

TICK = Decimal("0.01")
LOT = Decimal("0.00000001")
STEP = 0.0004  # Standard deviation of a step, as a part of the price.
PULL = Decimal("0.1")  # Part of the way to the middle of the book that the price goes in a step.
HALF_SPREAD = 0.0003
TAKES = 0.4  # Probability of a market order after each step.
SIZE_MAX = 0.5
SILENT_ROUNDS_MAX = 3  # After as many rounds without a sign of life, the exchange cancels all.
SILENT_SECONDS_MIN = 10
OPEN = ("open", "partially_filled")

Quotes = dict[tuple[str, int], Any]  # By side and level.


class MarketMaker:
    """Quotes one instrument. A subclass may have other prices, quantities and takes."""

    takes = TAKES

    def __init__(
        self, trader: Trader, market: Market, instrument: str, *, price: Decimal, levels: int, random: Random
    ) -> None:
        self._trader = trader
        self._market = market
        self._instrument = instrument
        self._price = price
        self._levels = levels
        self._random = random
        self._resting: Quotes = {}  # Order ids.
        self._prices: Quotes = {}  # The prices of resting orders, as far as they are known.
        self._renew_switch_at = 0.0

    async def run(self, seconds: float) -> None:
        """Quote until this task is cancelled, and then cancel the orders."""
        try:
            while True:
                await self._renew_switch(seconds)
                await self.requote()
                if self._random.random() < self.takes:
                    await self._trade_at_market()
                await asyncio.sleep(seconds * self._random.uniform(0.5, 1.5))
        finally:
            # This also cancels an order whose request was not answered.
            with contextlib.suppress(httpx.HTTPError):
                await self._trader.cancel_all(instrument=self._instrument)
                await self._trader.cancel_after(0)

    async def requote(self) -> None:
        """Move the price and all orders."""
        before = self._price
        self._price = self._next_price()
        wanted = self._wanted_prices()
        if self._price < before:
            wanted = dict(reversed(wanted.items()))
        await self._move(wanted)
        await self._place({quote: price for quote, price in wanted.items() if quote not in self._resting})

    def _next_price(self) -> Decimal:
        price = self._price * (1 + Decimal(self._random.gauss(0, STEP)))
        if (middle := self._middle()) is not None:
            price += (middle - price) * PULL
        return price

    def _wanted_prices(self) -> Quotes:
        """Return the price of each quote, asks first.

        If the price rises, asks must move before bids, or the own bids would meet the own asks.
        """
        prices = {}
        for side, sign in (("sell", 1), ("buy", -1)):
            for level in range(self._levels):
                distance = Decimal(HALF_SPREAD * (level + self._random.uniform(0.5, 1.5)))
                prices[side, level] = (self._price * (1 + sign * distance)).quantize(TICK)
        return prices

    async def _move(self, wanted: Quotes) -> None:
        """Amend the resting orders that are not at their prices, all with one request.

        Forget orders that are not open any more. An amend that would trade is refused: that order
        stays at its price.
        """
        moved = [
            quote for quote in wanted if quote in self._resting and self._prices.get(quote) != wanted[quote]
        ]
        if not moved:
            return
        amends = [{"order_id": self._resting[quote], "price": wanted[quote]} for quote in moved]
        for quote, result in zip(moved, await self._trader.amend_all(amends), strict=True):
            if "order" in result:
                self._prices[quote] = wanted[quote]
            elif result.get("error", {}).get("code") in ("order_not_open", "order_not_found"):
                del self._resting[quote]

    async def _place(self, wanted: Quotes) -> None:
        """Place a post-only order for each quote, all with one request."""
        if not wanted:
            return
        orders = [
            self._order(side, price, self._quantity(level), post_only=True)
            for (side, level), price in wanted.items()
        ]
        for quote, result in zip(wanted, await self._trader.place_all(orders), strict=True):
            if "order" in result and result["order"]["status"] in OPEN:
                self._resting[quote] = result["order"]["order_id"]
                self._prices[quote] = wanted[quote]

    async def _trade_at_market(self) -> None:
        """Buy at the market if the middle of the book is below our price. Otherwise sell."""
        if (middle := self._middle()) is not None:
            side = "buy" if self._price > middle else "sell"
            await self._trader.place(self._instrument, side, self._quantity(0))

    def _middle(self) -> Decimal | None:
        book = self._market.book
        if book is None or book.best_bid is None or book.best_ask is None:
            return None
        return (Decimal(book.best_bid) + book.best_ask) / 2

    def _order(self, side: str, price: Decimal, quantity: Decimal, **instructions: Any) -> Message:
        client_id = self._trader.client_id
        return order_body(client_id, self._instrument, side, quantity, price, **instructions)

    def _quantity(self, level: int) -> Decimal:
        """Return the quantity of an order at this level."""
        return Decimal(self._random.uniform(0.01, SIZE_MAX)).quantize(LOT)

    async def _renew_switch(self, seconds: float) -> None:
        """Tell the exchange that this program is alive, long before the time that it was given ends."""
        if time.monotonic() >= self._renew_switch_at:
            silence = max(SILENT_SECONDS_MIN, math.ceil(SILENT_ROUNDS_MAX * seconds))
            self._renew_switch_at = time.monotonic() + silence / SILENT_ROUNDS_MAX
            await self._trader.cancel_after(silence)


def stop_on_signals() -> None:
    """Let SIGINT and SIGTERM cancel the calling task, so that it can clean up."""
    if task := asyncio.current_task():
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)


async def quote(
    url: str, client_id: str, instrument: str, *, price: Decimal, levels: int, seconds: float, seed: int
) -> None:
    """Run a market maker until this task is cancelled. Raises httpx.HTTPError."""
    market = Market(url, instrument, "orderbook_deltas")

    async def watch() -> None:
        async for _ in market:
            pass

    async with Trader(url, client_id) as trader:
        watching = asyncio.create_task(watch())
        maker = MarketMaker(trader, market, instrument, price=price, levels=levels, random=Random(seed))
        try:
            await maker.run(seconds)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)


async def quote_until_stopped(*where: str, **how: Any) -> None:
    stop_on_signals()
    await quote(*where, **how)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", default="http://localhost:8000")
    parser.add_argument("--client-id", default="market-maker")
    parser.add_argument("--instrument", default="BTC-USD")
    parser.add_argument("--price", type=Decimal, default=Decimal(70_000), help="first price (70000)")
    parser.add_argument("--levels", type=int, default=2, help="prices on each side (2)")
    parser.add_argument("--seconds", type=float, default=10.0, help="time between two quotes (10)")
    parser.add_argument("--seed", type=int, default=1)
    options = vars(parser.parse_args())
    url, client_id, instrument = (options.pop(name) for name in ("url", "client_id", "instrument"))
    with contextlib.suppress(asyncio.CancelledError):
        try:
            asyncio.run(quote_until_stopped(url, client_id, instrument, **options))
        except httpx.HTTPError as error:
            sys.exit(
                f"{url} does not take orders: {error!r}. Start an exchange there, or name another one with --url"
            )


if __name__ == "__main__":
    main()
