"""Measure order entry with a growing orders table: `python -m benchmarks.growth`.

Starts three exchanges: with an empty orders table, with 1,000,000 orders and with 10,000,000
orders. The orders have trades and candles of 30 days, which benchmarks/past.py makes. wrk sends the
mix of orders to each in turns, with 128 connections, `--runs` times, so the first table is empty
only before the first run. Prints the medians, and their ratios to the empty table's. The ratios
must stay near 1. The database must have as many new orders as were acknowledged.
"""

import argparse
import statistics
import sys
from contextlib import ExitStack
from pathlib import Path

from benchmarks.http import PACKAGES, are_kept, closed_orders, key_prefix
from benchmarks.past import EVENTS_PER_GROUP, TRADES_PER_GROUP, Past, make_past
from benchmarks.recovery import restart_worker
from benchmarks.report import print_chart, print_heading
from benchmarks.wrk import ClosedLoop
from hosting.embedded.locations import Locations
from loadtools.arguments import whole_number
from loadtools.exchange import OwnExchange, own_exchange

ORDERS = (0, 1_000_000, 10_000_000)
RESTING_ORDERS = 10_000
DAYS = 30
CONNECTIONS = 128
WARM_UP_SECONDS = 3


def main() -> None:
    """Run all measurements. They take about six minutes and 10 GB of disk.

    Exits with 1 if there was an error or if orders are missing.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=whole_number(1, 600), default=5, help="of each run (5)")
    parser.add_argument("--runs", type=whole_number(1, 100), default=5, help="of each size (5)")
    options = parser.parse_args()
    print_heading(parser.prog, PACKAGES)
    measured: dict[int, list[float]] = {count: [] for count in ORDERS}
    failed = False
    with ExitStack() as stack:
        exchanges: dict[int, OwnExchange] = {}
        for count in ORDERS:
            exchanges[count] = exchange = stack.enter_context(own_exchange(Path("manage.py").absolute()))
            if count:
                print(f"making {count:,} orders", flush=True)
                groups = (count - RESTING_ORDERS) // EVENTS_PER_GROUP
                past = Past(groups * TRADES_PER_GROUP, count - groups * EVENTS_PER_GROUP, DAYS)
                make_past(Locations(exchange.data_dir).postgres_uri, past)
                restart_worker(exchange)
            send(exchange, WARM_UP_SECONDS)
        for _ in range(options.runs):
            for count, exchange in exchanges.items():
                loop, kept = send(exchange, options.seconds)
                failed |= bool(loop.errors) or not kept
                measured[count].append(loop.per_second)
                print(
                    f"{count:>10,} orders in the table: {loop.per_second:>7,.0f} orders/s, p50 {loop.p50:.1f} ms,"
                    f" p99 {loop.p99:.1f} ms, errors {loop.errors}{'' if kept else '  LOST'}",
                    flush=True,
                )
    medians = {count: statistics.median(some) for count, some in measured.items()}
    for count, rate in medians.items():
        print(f"{count:>10,} orders in the table: {rate / medians[0]:.2f} of the empty table's orders/s")
    print_chart(
        f"orders a second by orders in the table: medians of {options.runs}",
        {f"{count:,}": rate for count, rate in medians.items()},
        "orders/s",
    )
    sys.exit(failed)


def send(exchange: OwnExchange, seconds: int) -> tuple[ClosedLoop, bool]:
    """Run a closed loop. Return it, and whether the database has all acknowledged orders."""
    prefix = key_prefix()
    loop = closed_orders(exchange.target, prefix, CONNECTIONS, seconds)
    return loop, are_kept(loop.acknowledged, prefix, CONNECTIONS, exchange)


if __name__ == "__main__":
    main()
