"""Measure what one command sets off: `python -m benchmarks.mass`.

Starts an exchange of its own, and measures in `--runs` runs:

- a mass cancel: one request cancels 10,000 resting orders of a client;
- a cascade: a trade triggers a stop order, whose trade triggers the next one, 10,000 times.

Meanwhile other clients send an order every 50 ms for the same instrument, and for another one.
Prints the time until the request is answered or the last stop is filled, and the median, p95 and
longest time of the others' orders. The orders for the instrument of a cascade wait for its end:
triggered orders come first. If that takes longer than the API waits, they are answered 504.
"""

import argparse
import asyncio
import contextlib
import json
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.http import PACKAGES
from benchmarks.report import print_heading
from loadtools.arguments import whole_number
from loadtools.connection import Caller
from loadtools.exchange import own_exchange
from loadtools.tasks import run_beside
from loadtools.wire import Target, encode_get, encode_post

ORDERS = 10_000
BATCH_ORDERS = 100
OTHERS_PAUSE_SECONDS = 0.05
POLL_SECONDS = 0.02
CASCADE_SECONDS_MAX = 120.0
LATE = 504
MIDDLE = 50_000
INSTRUMENTS = INSTRUMENT, _ = ("BTC-USD", "ETH-USD")

Document = dict[str, Any]


class Figures(NamedTuple):
    """The seconds of one measurement, and the milliseconds of the other client's orders meanwhile."""

    seconds: float
    others: dict[str, list[float]]  # by instrument
    late: Counter[str]  # how many of them were answered 504, by instrument


class Exchange:
    """One connection to the exchange. Exits the program after an unexpected answer."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._caller = Caller(target)

    async def post(
        self, path: str, document: Document, status: int = 200, *, may_be_late: bool = False
    ) -> Any:
        """Send a document, and return the answer's, or None if it is 504 and may be late."""
        body = json.dumps(document).encode()
        response = await self._caller.call(encode_post(self._target, path, body))
        if may_be_late and response.status == LATE:
            return None
        if response.status != status:
            sys.exit(f"{path} answered {response.status}, expected {status}: {response.body[:300]!r}")
        return json.loads(response.body)

    async def get(self, path: str) -> Any:
        """Return the document at a path."""
        return json.loads((await self._caller.call(encode_get(self._target, path))).body)

    async def place(self, orders: Sequence[Document]) -> None:
        """Place orders in batches."""
        for begin in range(0, len(orders), BATCH_ORDERS):
            answer = await self.post("/orders/batch", {"orders": orders[begin : begin + BATCH_ORDERS]})
            refused = [result for result in answer["results"] if result["status"] != 201]
            if refused:
                sys.exit(f"an order was refused: {refused[0]}")

    async def until_no_offers(self) -> None:
        """Wait until the book has no asks."""
        while True:
            book = await self.get(f"/orderbook?instrument={INSTRUMENT}&levels=1")
            if not book["asks"]:
                return
            await asyncio.sleep(POLL_SECONDS)

    def close(self) -> None:
        """Close the connection."""
        self._caller.close()


def order(client_id: str, side: str, price: int | None, **others: Any) -> Document:
    """Return an order of the smallest quantity. Without a price it is a market order."""
    document = {"client_id": client_id, "instrument": INSTRUMENT, "side": side, "quantity": "0.01"}
    document |= {"type": "market"} if price is None else {"type": "limit", "price": str(price)}
    return document | others


async def send_others(target: Target, instrument: str, figures: Figures, numbers: Iterator[int]) -> None:
    """Send an order again and again that rests far from the market, until this task is cancelled."""
    with contextlib.closing(Exchange(target)) as exchange:
        while True:
            started = time.perf_counter()
            placed = order(f"other-{next(numbers) % 100}", "buy", 100, instrument=instrument)
            answer = await exchange.post("/orders", placed, 201, may_be_late=True)
            taken = time.perf_counter() - started
            figures.others[instrument].append(taken * 1000)
            figures.late[instrument] += answer is None
            await asyncio.sleep(max(0.0, OTHERS_PAUSE_SECONDS - taken))


async def cancel_all(target: Target, numbers: Iterator[int]) -> Figures:
    """Rest orders of a client at 1,000 prices, and cancel them with one request."""
    with contextlib.closing(Exchange(target)) as exchange:
        client_id = f"client-{next(numbers)}"
        await exchange.place(
            [order(client_id, "buy", MIDDLE - 1 - number % 1_000) for number in range(ORDERS)]
        )
        figures = Figures(0.0, {instrument: [] for instrument in INSTRUMENTS}, Counter())
        async with run_beside(*(send_others(target, one, figures, numbers) for one in INSTRUMENTS)):
            started = time.perf_counter()
            answer = await exchange.post("/orders/cancel", {"client_id": client_id})
            seconds = time.perf_counter() - started
        if answer["cancelled_count"] != ORDERS:
            sys.exit(f"{answer['cancelled_count']} orders were cancelled, expected {ORDERS}")
    return figures._replace(seconds=seconds)


async def cascade(target: Target, numbers: Iterator[int]) -> Figures:
    """Place offers at rising prices, and stops that buy them one after the other."""
    with contextlib.closing(Exchange(target)) as exchange:
        maker, stopper = f"client-{next(numbers)}", f"client-{next(numbers)}"
        await exchange.place([order(maker, "sell", MIDDLE + number) for number in range(ORDERS)])
        stops = [
            order(stopper, "buy", None, type="stop", trigger_price=str(MIDDLE + number))
            for number in range(ORDERS - 1)
        ]
        await exchange.place(stops)
        figures = Figures(0.0, {instrument: [] for instrument in INSTRUMENTS}, Counter())
        async with run_beside(*(send_others(target, one, figures, numbers) for one in INSTRUMENTS)):
            started = time.perf_counter()
            await exchange.post("/orders", order(stopper, "buy", None), 201)
            async with asyncio.timeout(CASCADE_SECONDS_MAX):
                await exchange.until_no_offers()
            seconds = time.perf_counter() - started
        left = await exchange.get(f"/orders?client_id={stopper}&status=pending")
        if left["orders"]:
            sys.exit(f"a stop was not triggered: {left['orders'][0]}")
        # No trade may be left that triggers the next run's stops at once.
        await exchange.place([order(maker, "sell", MIDDLE - 1), order(stopper, "buy", MIDDLE - 1)])
    return figures._replace(seconds=seconds)


def main() -> None:
    """Run both measurements. Exits with 1 after an unexpected answer."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mass", description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=whole_number(1, 100), default=5, help="of each measurement (5)")
    options = parser.parse_args()
    print_heading(parser.prog, PACKAGES)
    cases = {f"mass cancel of {ORDERS:,}": cancel_all, f"cascade of {ORDERS:,} stops": cascade}
    numbers = count()
    with own_exchange(Path("manage.py").absolute()) as exchange:
        for name, measure in cases.items():
            figures = []
            for _ in range(options.runs):
                figures.append(asyncio.run(measure(exchange.target, numbers)))
                print(f"  {name}: {figures[-1].seconds:.2f} s", flush=True)
            print(f"{name}: median {statistics.median(run.seconds for run in figures):.2f} s")
            for instrument in INSTRUMENTS:
                times = sorted(time for run in figures for time in run.others[instrument])
                late = sum(run.late[instrument] for run in figures)
                p95 = times[len(times) * 95 // 100]
                print(
                    f"  others' orders for {instrument}: median {statistics.median(times):.0f},"
                    f" p95 {p95:.0f}, longest {times[-1]:.0f} ms ({len(times)} orders, {late} of them {LATE})"
                )


if __name__ == "__main__":
    main()
