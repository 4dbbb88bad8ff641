"""Compare ways to move a market maker's six prices: `python -m benchmarks.requote`.

Starts an exchange of its own. One maker has three bids and three asks, and moves all of them up and
down, `--requotes` times in each way, by turns. A follower of `/stream` keeps the book. Prints for
each way the medians of:
- requests, or frames, of a requote;
- the time from the first request to the last answer;
- the time in which the follower's book lacks the maker's best bid or best ask, old or new.
"""

import argparse
import asyncio
import contextlib
import statistics
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.http import PACKAGES
from benchmarks.report import print_heading
from loadtools.arguments import whole_number
from loadtools.exchange import own_exchange
from tests.examples import exchange_client, order_stream

INSTRUMENT, MAKER, QUANTITY = "BTC-USD", "maker", Decimal("0.1")
MIDDLES = Decimal(70_000), Decimal(70_010)
LEVELS = 3
WARM_UP_REQUOTES = 10

Quotes = dict[tuple[str, int], Decimal]  # The price of each side and level.
Resting = dict[tuple[str, int], str]  # The order of each.
# Moves the orders to the prices, updates `Resting`, and returns the number of requests.
Way = Callable[[Resting, Quotes], Awaitable[int]]


class Figures(NamedTuple):
    """Figures of one requote, or medians."""

    requests: float
    milliseconds: float
    gap_milliseconds: float


class Follower:
    """Keeps the book, and measures how long quotes are missing in it."""

    def __init__(self, url: str) -> None:
        self._market = exchange_client.Market(url, INSTRUMENT, "orderbook_deltas")
        self._changed = asyncio.Condition()
        self._best: list[set[Decimal]] = []
        self._missing_since: float | None = None
        self.missing_seconds = 0.0

    async def run(self) -> None:
        """Follow the stream until this task is cancelled."""
        async for _ in self._market:
            if (book := self._market.book) is None:
                continue
            now = time.perf_counter()
            is_missing = not all(best & (book.bids.keys() | book.asks.keys()) for best in self._best)
            if is_missing and self._missing_since is None:
                self._missing_since = now
            elif not is_missing and self._missing_since is not None:
                self.missing_seconds += now - self._missing_since
                self._missing_since = None
            async with self._changed:
                self._changed.notify_all()

    def watch(self, before: Quotes, after: Quotes) -> None:
        """Measure from now on how long neither the old nor the new best price of a side is there."""
        self.missing_seconds = 0.0
        self._best = [{before[side, 0], after[side, 0]} for side in ("buy", "sell")]

    async def sees(self, quotes: Quotes) -> None:
        """Wait until the book has exactly these prices."""

        def is_seen() -> bool:
            book = self._market.book
            return book is not None and {*book.bids, *book.asks} == {*quotes.values()}

        async with self._changed:
            await self._changed.wait_for(is_seen)


def quotes_around(middle: Decimal, *, is_rising: bool) -> Quotes:
    """Return the prices in the order in which they move, so that own orders do not meet."""
    sides = ("sell", "buy") if is_rising else ("buy", "sell")
    return {
        (side, level): middle + (level + 1) * (1 if side == "sell" else -1)
        for side in sides
        for level in range(LEVELS)
    }


def ways(trader: Any, stream: Any) -> Mapping[str, Way]:
    async def cancel_and_place(resting: Resting, quotes: Quotes) -> int:
        for order_id in resting.values():
            await trader.cancel(order_id)
        for (side, level), price in quotes.items():
            order = await trader.place(INSTRUMENT, side, QUANTITY, price, post_only=True)
            resting[side, level] = order["order_id"]
        return len(resting) + len(quotes)

    async def amend(orders: Any, resting: Resting, quotes: Quotes) -> int:
        amends = [{"order_id": resting[quote], "price": price} for quote, price in quotes.items()]
        results = await orders.amend_all(amends)
        assert all(result["status"] == 200 for result in results), results
        return 1

    return {
        "cancel and place, REST": cancel_and_place,
        "POST /orders/amend": lambda resting, quotes: amend(trader, resting, quotes),
        "amend_orders on /stream": lambda resting, quotes: amend(stream, resting, quotes),
    }


async def measure(url: str, requotes: int) -> dict[str, Figures]:
    """Requote in each way by turns. Return the medians of each way."""
    measured: defaultdict[str, list[Figures]] = defaultdict(list)
    follower = Follower(url)
    async with (
        exchange_client.Trader(url, MAKER) as trader,
        order_stream.OrderStream(url, MAKER) as stream,
    ):
        following = asyncio.create_task(follower.run())
        before = quotes_around(MIDDLES[0], is_rising=True)
        resting: Resting = {}
        every_way = ways(trader, stream)
        await every_way["cancel and place, REST"](resting, before)
        for number in range(WARM_UP_REQUOTES + requotes):
            for name, move in every_way.items():
                is_rising = before["buy", 0] < MIDDLES[0]
                after = quotes_around(MIDDLES[1 if is_rising else 0], is_rising=is_rising)
                await follower.sees(before)
                follower.watch(before, after)
                started = time.perf_counter()
                requests = await move(resting, after)
                seconds = time.perf_counter() - started
                await follower.sees(after)
                if number >= WARM_UP_REQUOTES:
                    figures = Figures(requests, seconds * 1000, follower.missing_seconds * 1000)
                    measured[name].append(figures)
                before = after
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await following
    return {
        name: Figures(*map(statistics.median, zip(*some, strict=True))) for name, some in measured.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.requote", description=__doc__.splitlines()[0])
    parser.add_argument("--requotes", type=whole_number(1, 100_000), default=200, help="in each way (200)")
    options = parser.parse_args()
    print_heading(parser.prog, [*PACKAGES, "httpx", "websockets"])
    with own_exchange(Path("manage.py").absolute()) as exchange:
        medians = asyncio.run(measure(exchange.target.url, options.requotes))
    print(f"{'':<24} {'requests':>8} {'ms':>8} {'ms without a best price':>24}")
    for name, figures in medians.items():
        print(
            f"{name:<24} {figures.requests:>8.0f} {figures.milliseconds:>8.1f}"
            f" {figures.gap_milliseconds:>24.1f}"
        )


if __name__ == "__main__":
    main()
