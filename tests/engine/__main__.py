"""`python -m tests.engine` compares the engine with the reference book in long flows.

The full size is `python -m tests.engine --seeds 20 --commands 100000`: two million commands, and
the orders that they trigger. The mixes of tests/engine/flows.py take turns. All events are
compared, and every 500 steps the whole state; then the engine takes these steps back and repeats
them. The exit status is 1 at the first difference, which is printed with its seed.
"""

import sys
from argparse import ArgumentParser
from collections import Counter

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tests.engine.comparison import Comparison
from tests.engine.flows import MIXES

COMMANDS_AT_A_TIME = 1_000
COMPARED_EVERY = 500  # steps


def main() -> int:
    parser = ArgumentParser(prog="python -m tests.engine", description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20, help="how many flows (default: 20)")
    parser.add_argument("--start", type=int, default=0, help="the first seed (default: 0)")
    parser.add_argument("--commands", type=int, default=100_000, help="in each flow (default: 100000)")
    options = parser.parse_args()
    if options.seeds < 1 or options.commands < 1:
        parser.error("--seeds and --commands must be at least 1")
    seen: Counter[str] = Counter()
    sequences = 0
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("commands", total=options.seeds * options.commands)
        for seed in range(options.start, options.start + options.seeds):
            comparison = Comparison(MIXES[seed % len(MIXES)], seed)
            bar.update(task, description=f"seed {seed}")
            try:
                while comparison.commands < options.commands:
                    some = min(COMMANDS_AT_A_TIME, options.commands - comparison.commands)
                    comparison.run(some, compared_every=COMPARED_EVERY)
                    bar.advance(task, some)
            except AssertionError as difference:
                bar.stop()
                sys.stdout.write(f"{difference}\n")
                return 1
            seen += comparison.seen
            sequences += comparison.reference.sequence
    for name, count in sorted(seen.items()):
        sys.stdout.write(f"{count:>12,}  {name}\n")
    sys.stdout.write(f"{sum(seen.values()):,} events, {sequences:,} changes, no difference\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
