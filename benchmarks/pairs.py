"""Compare two exchanges part by part: `python -m benchmarks.pairs --before ../before`.

Both run beside each other and are sent the mix of benchmarks/http.py by turns: the exchange of this
checkout, and that of another one. Prints the medians of both, the median ratio of neighbouring runs,
and the processor time of an order in each part. With `--without INDEX` the second exchange is of this
checkout, too, but without that index of the database. Needs wrk.
"""

import argparse
import os
import statistics
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from psycopg import sql

from benchmarks.http import PACKAGES, checkout, closed_orders, key_prefix
from benchmarks.profile import superuser
from benchmarks.report import print_heading
from loadtools.arguments import whole_number
from loadtools.exchange import OwnExchange, own_exchange
from loadtools.processes import part_of, process_ticks

CONNECTIONS = (1, 32, 128)
WARM_UP_SECONDS = 4


class Side:
    """One of the two exchanges, with its figures at one number of connections."""

    def __init__(self, name: str, exchange: OwnExchange) -> None:
        self.name = name
        self.exchange = exchange
        self.clear()

    def clear(self) -> None:
        self.per_second: list[float] = []
        self.spent: Counter[str] = Counter()  # microseconds of processor time, by part
        self.acknowledged = 0

    def run(self, connections: int, seconds: int) -> None:
        before = self._microseconds()
        loop = closed_orders(self.exchange.target, key_prefix(), connections, seconds)
        self.spent.update(self._microseconds())
        self.spent.subtract(before)
        self.per_second.append(loop.per_second)
        self.acknowledged += loop.acknowledged

    def _microseconds(self) -> Counter[str]:
        found: Counter[str] = Counter()
        tick_microseconds = round(1e6 / os.sysconf("SC_CLK_TCK"))
        ticks = process_ticks(self.exchange.process_id, named=str(self.exchange.data_dir))
        for process in self.exchange.process_ids():
            found[part_of(process)] += ticks.get(process, 0) * tick_microseconds
        return found

    def __str__(self) -> str:
        parts = [f"{part} {spent / self.acknowledged:,.0f}" for part, spent in self.spent.most_common()]
        return f"{self.name:<28} {statistics.median(self.per_second):>7,.0f}/s   µs: {', '.join(parts)}"


def main() -> None:
    """Run all measurements."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pairs", description=__doc__.splitlines()[0])
    other = parser.add_mutually_exclusive_group(required=True)
    other.add_argument("--before", type=checkout, metavar="FOLDER", help="the second exchange's checkout")
    other.add_argument(
        "--without", action="append", metavar="INDEX", help="drop this index of the second exchange"
    )
    parser.add_argument("--runs", type=whole_number(1, 100), default=8, help="of each exchange (8)")
    parser.add_argument("--seconds", type=whole_number(1, 600), default=2, help="of each run (2)")
    options = parser.parse_args()
    print_heading(parser.prog, PACKAGES)
    own = Path("manage.py").absolute()
    with ExitStack() as servers:
        first = Side("exchange", servers.enter_context(own_exchange(own)))
        second = Side(
            "before" if options.before else f"without {', '.join(options.without)}",
            servers.enter_context(own_exchange(options.before or own)),
        )
        drop_indexes(second.exchange, options.without or [])
        for side in (first, second):
            closed_orders(side.exchange.target, key_prefix(), max(CONNECTIONS), WARM_UP_SECONDS)
        for connections in CONNECTIONS:
            compare(first, second, connections, options.runs, options.seconds)


def drop_indexes(exchange: OwnExchange, names: list[str]) -> None:
    """Drop indexes. Raises psycopg.Error if one does not exist."""
    with superuser(exchange) as database:
        for name in names:
            database.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(name)))


def compare(first: Side, second: Side, connections: int, runs: int, seconds: int) -> None:
    """Let both exchanges take orders by turns, and print their figures."""
    for side in (first, second):
        side.clear()
    for number in range(runs):
        for side in (first, second) if number % 2 else (second, first):
            side.run(connections, seconds)
    pairs = zip(first.per_second, second.per_second, strict=True)
    ratio = statistics.median(one / other for one, other in pairs)
    print(f"\n{connections} connections: {ratio:.2f} x\n  {first}\n  {second}", flush=True)


if __name__ == "__main__":
    main()
