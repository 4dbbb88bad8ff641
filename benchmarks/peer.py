"""Compare the exchange with a peer from PyPI: `python -m benchmarks.peer --python python3.12`.

The peer is `matching-engine` 0.1.1 (MIT), the strongest one on PyPI. It is one process of FastAPI
on uvicorn with a log file that it fsyncs, without database, idempotency and rate limit. It is
installed into an environment of its own, which needs Python 3.12, and is started with its own
command. wrk sends the same mix of orders to both in turns, `--runs` times.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from benchmarks.http import PACKAGES, REQUESTS_PER_SECOND_MAX, are_kept, key_prefix, orders
from benchmarks.report import print_heading
from benchmarks.served import await_answer
from benchmarks.wrk import ClosedLoop, closed_loop
from loadtools.arguments import whole_number
from loadtools.exchange import free_port, own_exchange
from loadtools.wire import Target

PACKAGE = "matching-engine[gateway]==0.1.1"
PATH = "/markets/BTC-USDT/orders"
CONNECTIONS = (32, 128)
EXCHANGE, PEER = "exchange", "peer"


def main() -> None:
    """Run all measurements. Exits with 1 if there was an error or if the exchange lost an order."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peer", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=whole_number(1, 600), default=5, help="of each run (5)")
    parser.add_argument("--runs", type=whole_number(1, 100), default=5, help="of each case (5)")
    parser.add_argument("--python", default="python3.12", help="of at least 3.12, for the peer (python3.12)")
    options = parser.parse_args()
    print_heading(parser.prog, PACKAGES)
    measured: defaultdict[tuple[int, str], list[ClosedLoop]] = defaultdict(list)
    failed = False
    with (
        tempfile.TemporaryDirectory(prefix="peer-") as folder,
        own_exchange(Path("manage.py").absolute()) as exchange,
        peer(Path(folder), options.python) as other,
    ):
        for run in range(-1, options.runs):  # The first run is a warm-up.
            for connections in CONNECTIONS:
                for name in (EXCHANGE, PEER):
                    ours = name == EXCHANGE
                    prefix = key_prefix()
                    requests = islice(orders(prefix), REQUESTS_PER_SECOND_MAX * options.seconds)
                    target, sent = (exchange.target, requests) if ours else (other, map(for_peer, requests))
                    loop = closed_loop(target, sent, connections=connections, seconds=options.seconds)
                    kept = not ours or are_kept(loop.acknowledged, prefix, connections, exchange)
                    failed |= bool(loop.errors) or not kept
                    if run >= 0:
                        measured[connections, name].append(loop)
                        print(f"{name:<10} {connections:>4} connections {row(loop)}", flush=True)
    print(f"\nmedians of {options.runs} runs")
    for connections in CONNECTIONS:
        rates = {}
        for name in (EXCHANGE, PEER):
            some = measured[connections, name]
            rates[name] = statistics.median(loop.per_second for loop in some)
            p50 = statistics.median(loop.p50 for loop in some)
            print(f"{name:<10} {connections:>4} connections {rates[name]:>8,.0f} orders/s, p50 {p50:.1f} ms")
        print(f"{'':<10} {connections:>4} connections {rates[EXCHANGE] / rates[PEER]:.2f} times the peer")
    sys.exit(failed)


def row(loop: ClosedLoop) -> str:
    return (
        f"{loop.per_second:>8,.0f} orders/s, p50 {loop.p50:.1f} ms, p99 {loop.p99:.1f} ms,"
        f" generator {loop.generator:.0%}, errors {loop.errors}"
    )


def for_peer(request: tuple[str, bytes]) -> tuple[str, bytes]:
    """Return the same order in the peer's format.

    The peer has numbers for accounts, strings for decimals, and no idempotency keys.
    """
    order = json.loads(request[1], parse_float=str)
    body = {
        "account": 1 + int(order["client_id"].removeprefix("client-")),
        "side": order["side"],
        "type": order["type"],
        "quantity": str(order["quantity"]),
    }
    if "price" in order:
        body["price"] = str(order["price"])
    return PATH, json.dumps(body).encode()


@contextmanager
def peer(folder: Path, python: str) -> Iterator[Target]:
    """Run the peer on loopback in a temporary environment."""
    environment = folder / "environment"
    subprocess.run([python, "-m", "venv", str(environment)], check=True)
    program = str(environment / "bin" / "python")
    subprocess.run([program, "-m", "pip", "install", "--quiet", PACKAGE, "uvloop"], check=True)
    target = Target("127.0.0.1", free_port())
    process = subprocess.Popen(
        [program, "-m", "matching_engine", "serve", "--host", target.host, "--port", str(target.port)],
        env={**os.environ, "ME_DATA_DIR": str(folder / "data")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        await_answer(process, f"{target.url}/openapi.json")
        yield target
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()
