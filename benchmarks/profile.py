"""Profile the processor time of an order: `python -m benchmarks.profile`, or `make profile`.

Starts an exchange of its own. wrk sends it the mix of orders in a closed loop. The benchmark prints
the microseconds for an order:
- by process, as Linux counts its time;
- by step, for the API process and the worker. py-spy samples the thread that holds the GIL.
  A sample belongs to the innermost step on its stack. Shares are of the process's time;
- by statement, for PostgreSQL, which is restarted with pg_stat_statements for this.

Sampling itself takes time. So use the shares of this benchmark, but the orders per second of
benchmarks/http.py.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psycopg

from benchmarks.http import PACKAGES, closed_orders, key_prefix
from benchmarks.report import print_heading
from hosting.embedded.locations import POSTGRES_DATABASE, POSTGRES_PORT, Locations
from hosting.embedded.postgres import SUPERUSER
from hosting.embedded.processes import read_pid
from loadtools.arguments import whole_number
from loadtools.exchange import OwnExchange, health_problem, own_exchange
from loadtools.processes import PARTS, part_of, process_ticks

# Longer than WORKER_LOOK_UP_SECONDS, in which a new worker looks keys up in advance.
WARM_UP_SECONDS = 25
SAMPLES_PER_SECOND = 400
RESTARTS_SECONDS_MAX = 60.0
POLL_SECONDS = 0.1
STATEMENTS_SHOWN = 6
SMALLEST_SHARE = 0.005
API, WORKER = PARTS["exchange_site.asgi"], PARTS["run_matching"]
# The first of these steps that is on a stack gets the sample, so inner steps come before their
# callers. A step's frames are recognized by parts of "function (file:line)".
STEPS = {
    API: (
        ("metrics", ("prometheus_client/", "orders/metrics.py")),
        ("reply: listen to Redis", ("orders/gateway/replies.py", "_on_reply")),
        ("append: script, one round trip", ("orders/gateway/appender.py", "orders/gateway/admission.py")),
        ("validate: JSON, serializer, grid", ("read_order", "to_grid", "terms", "read_json")),
        ("desk and gateway", ("OrderDesk.place", "OrderGateway.submit")),
        (
            "answer: response and sending",
            ("send_response (web", "_order_response (orders", "JSONResponse", "HeldAnswer", "_send_all"),
        ),
        ("viewset", ("web/viewset.py", "orders/views.py", "rest_framework/")),
        ("server: HTTP, tasks", ("hosting/server/", "uvicorn/protocols/")),
        ("handler: request, URL, limits", ("web/", "exchange_site/", "channels/routing.py", "django/")),
    ),
    WORKER: (
        ("metrics", ("prometheus_client/", "matching/worker/counting.py")),
        ("read: stream, decode", ("matching/worker/command_stream.py", "matching/worker/decoding.py")),
        ("look keys up", ("find_keys",)),
        ("match", ("Batch.run", "matching/engine/")),
        ("rows", ("statement_of (matching/commit/statement.py",)),
        (
            "commit: the statement's client side",
            ("commit (matching/commit/session.py", "matching/commit/prepared.py"),
        ),
        ("market data: encode", ("_market_batch_command",)),
        ("describe: replies and market data", ("matching/publish/documents.py",)),
        ("publish: mirror, replies, market data; trim, read", ("Publisher.publish",)),
        ("the rest: event loop, Redis' answers, heartbeat", ("matching/", "concurrent/futures")),
    ),
}
_STATEMENTS = """
SELECT calls, total_exec_time * 1000, rows, regexp_replace(query, '\\s+', ' ', 'g') FROM pg_stat_statements
WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
ORDER BY total_exec_time DESC LIMIT %s
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile", description=__doc__.splitlines()[0])
    parser.add_argument("--connections", type=whole_number(1, 1_000), default=128, help="default: 128")
    parser.add_argument("--seconds", type=whole_number(2, 600), default=10, help="default: 10")
    options = parser.parse_args()
    print_heading(parser.prog, (*PACKAGES, "py-spy"))
    with own_exchange(Path("manage.py").absolute()) as exchange, tempfile.TemporaryDirectory() as folder:
        count_statements(exchange)
        closed_orders(exchange.target, key_prefix(), options.connections, WARM_UP_SECONDS)
        processes = {process: part_of(process) for process in exchange.process_ids()}
        spies = [
            sample(process, Path(folder) / role, options.seconds)
            for process, role in processes.items()
            if role in STEPS
        ]
        with superuser(exchange) as database:
            database.execute("SELECT pg_stat_statements_reset()")
            before = process_ticks(exchange.process_id, named=str(exchange.data_dir))
            loop = closed_orders(exchange.target, key_prefix(), options.connections, options.seconds)
            after = process_ticks(exchange.process_id, named=str(exchange.data_dir))
            statements = database.execute(_STATEMENTS, [STATEMENTS_SHOWN]).fetchall()
        for spy in spies:
            spy.wait()
        placed = loop.acknowledged
        print(f"{placed:,} orders, {loop.per_second:,.0f}/s, {options.connections} connections\n")
        tick_microseconds = 1e6 / os.sysconf("SC_CLK_TCK")
        spent: Counter[str] = Counter()
        for process, ticks in after.items():
            role = processes.get(process) or part_of(process)
            spent[role] += round((ticks - before.get(process, 0)) * tick_microseconds)
        for role, microseconds in spent.most_common():
            print(f"{microseconds / placed:8.1f} µs an order  {role}")
            for step, share in shares(Path(folder) / role, STEPS.get(role, ())):
                if share >= SMALLEST_SHARE:
                    print(f"{'':8}   {share * microseconds / placed:8.1f}  {step}")
        print(f"{sum(spent.values()) / placed:8.1f} µs an order  in all, without the generator\n")
        for calls, microseconds, rows, query in statements:
            print(
                f"{microseconds / placed:8.1f} µs an order  {calls:>8,} calls, {rows:>8,} rows,"
                f" {microseconds / calls:7.0f} µs each  {query[:70]}"
            )


def sample(process: int, output: Path, seconds: int) -> "subprocess.Popen[bytes]":
    """Start py-spy, which counts the stacks of threads that hold the GIL. Return its process."""
    command = [str(Path(sys.executable).with_name("py-spy")), "record", "--gil", "--format", "raw"]
    command += ["--rate", str(SAMPLES_PER_SECOND), "--duration", str(seconds), "--pid", str(process)]
    return subprocess.Popen(
        [*command, "--output", str(output)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def shares(samples: Path, steps: Sequence[tuple[str, Sequence[str]]]) -> list[tuple[str, float]]:
    """Return each step's share of the samples, and the share of the rest."""
    if not samples.exists():
        return []
    seen: Counter[str] = Counter()
    for line in samples.read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        seen[step_of(stack.split(";"), steps)] += int(count)
    return [(step, count / seen.total()) for step, count in seen.most_common()]


def step_of(stack: Sequence[str], steps: Sequence[tuple[str, Sequence[str]]]) -> str:
    for step, parts in steps:
        if any(part in frame for frame in stack for part in parts):
            return step
    return "event loop and others"


def superuser(exchange: OwnExchange) -> "psycopg.Connection[tuple[Any, ...]]":
    folder = Locations(exchange.data_dir).sockets
    return psycopg.connect(
        host=str(folder), port=POSTGRES_PORT, user=SUPERUSER, dbname=POSTGRES_DATABASE, autocommit=True
    )


def count_statements(exchange: OwnExchange) -> None:
    """Restart the database with pg_stat_statements."""
    with superuser(exchange) as database:
        database.execute("ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements'")
    server = read_pid(Locations(exchange.data_dir).postgres_data / "postmaster.pid")
    assert server is not None
    os.kill(server, signal.SIGINT)
    deadline = time.monotonic() + RESTARTS_SECONDS_MAX
    while True:
        try:
            with superuser(exchange) as database:
                database.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
                database.execute("SELECT pg_stat_statements_reset()")
            if health_problem(exchange.target) is None:
                return
        except psycopg.Error:
            if time.monotonic() > deadline:
                raise
        time.sleep(POLL_SECONDS)


if __name__ == "__main__":
    main()
