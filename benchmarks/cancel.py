"""Compare the time of a cancel with the time of an order: `python -m benchmarks.cancel`.

Starts an exchange of its own. On one connection it places a resting order and cancels it, `--pairs`
times in each of `--runs` runs. Each request follows the answer to the one before. Prints the
medians of both, and their ratio. `--strangers 350` adds as many connections that cancel unknown
ids. Half of these ids look like ids of an instrument's orders. `--before FOLDER` also measures the
exchange of another checkout, in alternating runs.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import statistics
import sys
import time
import uuid
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from benchmarks.http import PACKAGES, checkout
from benchmarks.report import print_heading
from loadtools.arguments import whole_number
from loadtools.connection import Caller
from loadtools.exchange import own_exchange
from loadtools.tasks import run_beside
from loadtools.wire import Response, Target, encode_post

WARM_UP_PAIRS = 50
ORDER = {
    "client_id": "canceller",
    "instrument": "BTC-USD",
    "side": "buy",
    "type": "limit",
    "price": "100",
    "quantity": "0.01",
}


class Medians(NamedTuple):
    """Median times, and the p95 of cancels, in milliseconds."""

    order: float
    cancel: float
    cancel_p95: float


def main() -> None:
    """Run all measurements. Exits with 1 after an unexpected answer."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cancel", description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=whole_number(1, 100_000), default=500, help="in each run (500)")
    parser.add_argument("--runs", type=whole_number(1, 100), default=5, help="of each exchange (5)")
    parser.add_argument("--strangers", type=whole_number(0, 1_000), default=0, help="connections (0)")
    parser.add_argument(
        "--before", type=checkout, metavar="FOLDER", help="also measure this checkout, in alternating runs"
    )
    options = parser.parse_args()
    print_heading(parser.prog, PACKAGES)
    measured: defaultdict[str, list[Medians]] = defaultdict(list)
    with ExitStack() as servers:
        checkouts = {"exchange": Path("manage.py").absolute()}
        checkouts |= {"before": options.before} if options.before else {}
        targets = {name: servers.enter_context(own_exchange(path)).target for name, path in checkouts.items()}
        for target in targets.values():
            asyncio.run(measure(target, WARM_UP_PAIRS, 0))
        for _ in range(options.runs):
            for name, target in targets.items():
                medians = asyncio.run(measure(target, options.pairs, options.strangers))
                measured[name].append(medians)
                print(f"{name:<10} {row(medians)}", flush=True)
    print(f"\nmedians of {options.runs} runs")
    for name, some in measured.items():
        print(f"{name:<10} {row(Medians(*map(statistics.median, zip(*some, strict=True))))}")


def row(medians: Medians) -> str:
    return (
        f"order {medians.order:>7.2f} ms, cancel {medians.cancel:>7.2f} ms (p95 {medians.cancel_p95:.2f}):"
        f" a cancel is {medians.cancel / medians.order:.2f} orders"
    )


async def measure(target: Target, pairs: int, strangers: int) -> Medians:
    """Measure orders and cancels in turns on one connection, beside `strangers` others."""
    orders: list[float] = []
    cancels: list[float] = []
    caller = Caller(target)
    async with run_beside(*(cancel_unknown(target, number) for number in range(strangers))):
        for _ in range(pairs):
            placed = await timed(caller, encode_post(target, "/orders", json.dumps(ORDER).encode()), orders)
            check(placed, 201)
            path = f"/orders/{json.loads(placed.body)['order_id']}/cancel"
            check(await timed(caller, encode_post(target, path, b"{}"), cancels), 200)
    caller.close()
    return Medians(
        statistics.median(orders), statistics.median(cancels), statistics.quantiles(cancels, n=20)[-1]
    )


async def timed(caller: Caller, request: bytes, milliseconds: list[float]) -> Response:
    started = time.perf_counter()
    response = await caller.call(request)
    milliseconds.append((time.perf_counter() - started) * 1000)
    return response


def check(response: Response, status: int) -> None:
    if response.status != status:
        sys.exit(f"answered {response.status}, expected {status}: {response.body[:300]!r}")


async def cancel_unknown(target: Target, number: int) -> None:
    """Cancel unknown orders until this task is cancelled."""
    with contextlib.closing(Caller(target)) as caller:
        for _ in itertools.count():
            order_id = str(uuid.uuid4())
            if number % 2:
                order_id = order_id[:-3] + "001"  # It looks like an order of one instrument.
            await caller.call(encode_post(target, f"/orders/{order_id}/cancel", b"{}"))


if __name__ == "__main__":
    main()
