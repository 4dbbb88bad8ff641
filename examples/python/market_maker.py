"""A market maker that quotes around a random walk: `python examples/python/market_maker.py`.

Every `--seconds` it cancels its orders, moves its own price by a random step, and places an order
at each of `--levels` prices on both sides. Sometimes it also sends a market order, towards its own
price. Its orders and cancels must stay within the exchange's rate limits for one client.
"""

import argparse
import asyncio
import contextlib
import signal
import sys
from decimal import Decimal
from random import Random
from typing import Any

import httpx
from exchange_client import Market, Trader

TICK = Decimal("0.01")
LOT = Decimal("0.00000001")
STEP = 0.0004  # Standard deviation of a step, as a part of the price.
HALF_SPREAD = 0.0003
TAKES = 0.4  # Probability of a market order after each step.
SIZE_MAX = 0.5


class MarketMaker:
    """Quotes one instrument."""

    def __init__(
        self, trader: Trader, market: Market, instrument: str, *, price: float, levels: int, random: Random
    ) -> None:
        self._trader = trader
        self._market = market
        self._instrument = instrument
        self._price = price
        self._levels = levels
        self._random = random
        self._resting: list[str] = []

    async def run(self, seconds: float) -> None:
        """Quote until this task is cancelled, and then cancel the orders."""
        try:
            while True:
                await self._requote()
                if self._random.random() < TAKES:
                    await self._trade_at_market()
                await asyncio.sleep(seconds * self._random.uniform(0.5, 1.5))
        finally:
            # Ask for the open orders, because an unanswered request may have placed one, too.
            with contextlib.suppress(httpx.HTTPError):
                self._resting = await self._trader.open_orders(self._instrument)
                await self._cancel_all()

    async def _requote(self) -> None:
        await self._cancel_all()
        self._price *= 1 + self._random.gauss(0, STEP)
        for level in range(self._levels):
            distance = HALF_SPREAD * (level + self._random.uniform(0.5, 1.5))
            for side, price in (
                ("buy", self._price * (1 - distance)),
                ("sell", self._price * (1 + distance)),
            ):
                await self._place(side, price)

    async def _trade_at_market(self) -> None:
        """Buy at the market if the middle of the book is below our price. Otherwise sell."""
        book = self._market.book
        if book is None or book.best_bid is None or book.best_ask is None:
            return
        middle = (float(book.best_bid) + float(book.best_ask)) / 2
        await self._place("buy" if self._price > middle else "sell", None)

    async def _place(self, side: str, price: float | None) -> None:
        quantity = Decimal(self._random.uniform(0.01, SIZE_MAX)).quantize(LOT)
        limit = None if price is None else Decimal(price).quantize(TICK)
        order = await self._trader.place(self._instrument, side, quantity, limit)
        if order["status"] in ("open", "partially_filled"):
            self._resting.append(order["order_id"])

    async def _cancel_all(self) -> None:
        while self._resting:
            await self._trader.cancel(self._resting[-1])
            self._resting.pop()


def stop_on_signals() -> None:
    """Let SIGINT and SIGTERM cancel the calling task, so that it can clean up."""
    if task := asyncio.current_task():
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)


async def quote(
    url: str, client_id: str, instrument: str, *, price: float, levels: int, seconds: float, seed: int
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
    parser.add_argument("--price", type=float, default=70_000.0, help="first price (70000)")
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
