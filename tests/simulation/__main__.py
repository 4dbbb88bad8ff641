"""`make simulate SEEDS=100000` runs many seeds, and `make simulate SEED=123` one, with its log."""

import logging
import os
import sys
import tempfile
from argparse import ArgumentParser
from pathlib import Path

import django
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


def main() -> int:
    parser = ArgumentParser(
        prog="simulate", description="Break the exchange, by seed, and check its promises."
    )
    parser.add_argument("--seeds", type=int, default=2_000, help="how many (default: 2000)")
    parser.add_argument("--start", type=int, default=0, help="the first one (default: 0)")
    parser.add_argument("--seed", type=int, help="only this one, with its log")
    options = parser.parse_args()
    if options.seeds < 1:
        parser.error("--seeds must be at least 1")
    with tempfile.TemporaryDirectory(prefix="exchange-simulation-") as folder:
        os.environ["DJANGO_SETTINGS_MODULE"] = "exchange_site.settings"
        os.environ["EXCHANGE_DATA_DIR"] = str(Path(folder))
        django.setup()
        return run_many(options.start, options.seeds) if options.seed is None else run_one(options.seed)


def run_one(seed: int) -> int:
    from tests.simulation.world import simulate

    logging.getLogger().setLevel(logging.INFO)
    sys.stdout.write(f"{simulate(seed)}\n")
    return 0


def run_many(start: int, count: int) -> int:
    from tests.simulation.seeds import Result, run_everywhere

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("seeds", total=count)

        def show(result: Result) -> None:
            bar.update(task, completed=result.seeds, description=f"{len(result.found)} breaches")

        result = run_everywhere(start, count, show)
    sys.stdout.write(
        f"{result.seeds:,} seeds, {result.faults:,} faults, {result.acknowledged:,} acknowledgements, "
        f"{result.trades:,} trades, {len(result.found)} breaches\n"
    )
    for found in result.found:
        sys.stdout.write(f"make simulate SEED={found.seed}: {found.breach}\n")
    return 1 if result.found else 0


if __name__ == "__main__":
    sys.exit(main())
