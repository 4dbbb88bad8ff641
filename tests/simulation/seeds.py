"""Run many seeds on all cores."""

import logging
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

from tests.simulation.breaches import Breach
from tests.simulation.controls import CONTROLS, Control
from tests.simulation.world import Summary, simulate

SEEDS_PER_TASK = 50


class Found(NamedTuple):
    """A seed that broke a promise."""

    seed: int
    breach: str


class Result(NamedTuple):
    """The sum of the runs of some seeds."""

    seeds: int
    faults: int
    acknowledged: int
    trades: int
    found: list[Found]

    def add(self, other: "Result") -> "Result":
        return Result(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))  # type: ignore[operator]


NOTHING = Result(0, 0, 0, 0, [])


def run_seeds(seeds: Sequence[int]) -> Result:
    """Run all seeds in this process, also after a breach."""
    logging.disable(logging.CRITICAL)  # the exchange reports each fault
    try:
        result = NOTHING
        for seed in seeds:
            outcome = run_seed(seed)
            if isinstance(outcome, Found):
                result = result.add(Result(1, 0, 0, 0, [outcome]))
            else:
                result = result.add(Result(1, outcome.faults, outcome.acknowledged, outcome.trades, []))
        return result
    finally:
        logging.disable(logging.NOTSET)


def run_seed(seed: int, control: Control | None = None) -> Summary | Found:
    try:
        return simulate(seed, control)
    except Breach as breach:
        return Found(seed, str(breach))
    except Exception as error:  # counts as a breach
        return Found(seed, f"{type(error).__name__}: {error}")


def find_first_breach(control_name: str, seeds_max: int) -> Found | None:
    """Return the first seed below `seeds_max` that has a breach without the protection."""
    control = next(control for control in CONTROLS if control.name == control_name)
    logging.disable(logging.CRITICAL)
    try:
        outcomes = (run_seed(seed, control) for seed in range(seeds_max))
        return next((outcome for outcome in outcomes if isinstance(outcome, Found)), None)
    finally:
        logging.disable(logging.NOTSET)


def run_everywhere(
    start: int, count: int, on_progress: Callable[[Result], None] | None = None, processes: int | None = None
) -> Result:
    """Run `count` seeds from `start` on all cores. `on_progress` gets the sum after each part."""
    result = NOTHING
    for part in _parts(start, count, processes or os.cpu_count() or 1):
        result = result.add(part)
        if on_progress is not None:
            on_progress(result)
    return result


def _parts(start: int, count: int, processes: int) -> Iterator[Result]:
    tasks = [
        range(first, min(first + SEEDS_PER_TASK, start + count))
        for first in range(start, start + count, SEEDS_PER_TASK)
    ]
    # Forked processes have Django loaded already. No thread of ours runs before the fork.
    with ProcessPoolExecutor(processes, multiprocessing.get_context("fork")) as pool:
        yield from pool.map(run_seeds, tasks)
