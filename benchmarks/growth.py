"""Whether order entry stays as fast as on the first day: `python -m benchmarks.growth`.

Starts three exchanges, one beside the other, with no orders in the table, with 1,000,000 and with 10,000,000 (and
their trades and candles of 30 days; benchmarks/past.py makes them), and sends each the mix of orders by turns,
from wrk with 128 connections, `--runs` times. (The empty one has what the runs have sent it.) The curve must be
flat: medians, and the share of the empty one's orders a second. There must be as many new orders in the database as
were acknowledged.
"""

import argparse
import statistics
import sys
from contextlib import ExitStack
from pathlib import Path

from benchmarks.http import PACKAGES, are_kept, closed_orders, key_prefix
from benchmarks.memory import restart_worker
from benchmarks.past import EVENTS_PER_GROUP, TRADES_PER_GROUP, Past, make_past
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
    """Exit status 1 where there was an error or orders are missing. Takes about six minutes and 10 GB of disk."""
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
    """A closed loop of so long, and whether all that was acknowledged is in the database."""
    prefix = key_prefix()
    loop = closed_orders(exchange.target, prefix, CONNECTIONS, seconds)
    return loop, are_kept(loop, prefix, CONNECTIONS, exchange)


if __name__ == "__main__":
    main()
