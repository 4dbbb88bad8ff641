"""Measure the fan-out of /stream to many clients: `python -m benchmarks.fanout`.

Starts an exchange of its own, and subscribers to deltas and trades in other processes. Then it
sends orders at a fixed rate. For each step of `--steps` (subscribers x orders per second) it
reports:
- deliveries per second (a delivery is one message to one client);
- lateness: from the time stamp of a batch, which is taken before its commit, to the receipt;
- whether all subscribers received the same complete feed;
- the API process's processor time for a delivery, and its memory for a subscriber.

With `--runs N` each step is run N times, in turns with the others, and the medians are printed.
`--silent N` runs each step again with N additional clients that never read. It reports when the
exchange has closed them, the effect on the other clients, and the memory of the API process.
`--bare` also measures a send loop on the same server without an exchange. `--picture` saves a
chart.
"""

import argparse
import re
import statistics
import sys
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import NamedTuple

import psutil

from benchmarks.overload import raise_open_files_limit
from benchmarks.report import print_heading
from benchmarks.served import served
from hosting.embedded.processes import command_line
from loadtools.arguments import whole_number
from loadtools.exchange import OwnExchange, own_exchange
from loadtools.generator import Plan
from loadtools.processes import KIB_PER_MIB, mebibytes
from loadtools.run import LoadRun, run_load
from loadtools.subscribers import StreamCounts, Subscribers, open_stream
from loadtools.wire import Target

PACKAGES = ("django", "channels", "uvicorn", "uvloop", "websockets")
STEPS = "1000x20,100x300,5000x2"
CHANNELS = ("orderbook_deltas", "trades")
OTHER_FILES = 100  # Open files of this process besides connections.
SECONDS_MAX = 3_600
LAST_WORDS_SECONDS = 2.0  # Time in which the last messages arrive.
SILENT_RECEIVE_BYTES = 4_096
SILENT_SECONDS_MAX = 60.0
POLL_SECONDS = 0.1
BARE_RAMP_SECONDS = (0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.0)  # Seconds between two messages.
LATE_MILLISECONDS = 250
SLOW_CONSUMERS = re.compile(r"^exchange_websocket_slow_consumers_total ([\d.]+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Step:
    """A number of subscribers, and a rate of orders per second."""

    subscribers: int
    rate: int


class StepFigures(NamedTuple):
    """Figures of one run of a step, or medians of several.

    Times are in ms unless the name says otherwise.
    """

    orders_per_second: float
    deliveries_per_second: float
    lateness_p50: float
    lateness_p99: float
    lateness_max: float
    megabytes_per_second: float
    api_percent: float  # Share of one core.
    microseconds_each: float  # The API process's processor time for a delivery.
    kibibytes_each: float  # The API process's memory for a subscriber.
    api_mebibytes: float

    def row(self) -> str:
        formats = ("9,.0f", "13,.0f", "7,.0f", "7,.0f", "7,.0f", "7,.1f", "6.0f", "8.1f", "9.1f", "8.0f")
        return " ".join(f"{figure:>{form}}" for figure, form in zip(self, formats, strict=True))


@dataclass(frozen=True, slots=True)
class Measured:
    """The results of a step beside `silent` clients, which never read. Memory is the API's."""

    step: Step
    silent: int
    counts: StreamCounts
    load: LoadRun
    api_seconds: float
    mebibytes_before: float  # Before the subscribers connect.
    mebibytes_with: float  # After they have connected.
    mebibytes_after: float  # After the load.

    @property
    def is_whole(self) -> bool:
        """Whether all subscribers received the same complete feed."""
        return len(self.counts.feeds) == 1 and not self.counts.closed and self.counts.messages > 0

    @property
    def figures(self) -> StepFigures:
        counts, seconds = self.counts, self.load.outcome.elapsed_seconds
        return StepFigures(
            orders_per_second=self.load.achieved_per_second,
            deliveries_per_second=counts.messages / seconds,
            lateness_p50=counts.lateness_at(50),
            lateness_p99=counts.lateness_at(99),
            lateness_max=max(counts.lateness, default=0),
            megabytes_per_second=counts.received_bytes / 1e6 / seconds,
            api_percent=self.api_seconds / seconds * 100,
            microseconds_each=self.api_seconds / max(1, counts.messages) * 1e6,
            kibibytes_each=(self.mebibytes_with - self.mebibytes_before)
            * KIB_PER_MIB
            / self.step.subscribers,
            api_mebibytes=self.mebibytes_after,
        )

    def row(self) -> str:
        feeds = "all" if self.is_whole else f"{len(self.counts.feeds)} kinds"
        how_well = f"{feeds:>8} {self.counts.closed:>7} {self.load.outcome.errors.total():>6}"
        return f"{conditions(self.step, self.silent)} {self.figures.row()} {how_well}"


HEADER = (
    f"{'subscribers':>11} {'silent':>6} {'orders/s':>9} {'deliveries/s':>13} {'p50 ms':>7} {'p99 ms':>7} {'max':>7}"
    f" {'MB/s':>7} {'API %':>6} {'us each':>8} {'KiB each':>9} {'API MiB':>8} {'feeds':>8} {'closed':>7} errors"
)


def conditions(step: Step, silent: int) -> str:
    return f"{step.subscribers:>11,} {silent:>6}"


def medians(measured: list[Measured]) -> dict[tuple[Step, int], StepFigures]:
    """Return the medians of each step, with and without silent clients."""
    alike: defaultdict[tuple[Step, int], list[StepFigures]] = defaultdict(list)
    for one in measured:
        alike[one.step, one.silent].append(one.figures)
    return {
        case: StepFigures(*map(statistics.median, zip(*figures, strict=True)))
        for case, figures in alike.items()
    }


def main() -> None:
    """Run all steps. Each takes some seconds longer than its load."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fanout", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--steps", type=parse_steps, default=STEPS, help=f"subscribers x orders a second ({STEPS})"
    )
    parser.add_argument("--seconds", type=whole_number(1, SECONDS_MAX), default=10, help="of each step (10)")
    parser.add_argument("--processes", type=whole_number(1, 16), default=1, help="of subscribers (1)")
    parser.add_argument(
        "--silent", type=whole_number(0, 1_000), default=0, help="clients that never read (0)"
    )
    parser.add_argument("--runs", type=whole_number(1, 100), default=1, help="of each step (1)")
    parser.add_argument("--api-processes", type=whole_number(1, 16), default=1, help="of the exchange (1)")
    parser.add_argument(
        "--bare", action="store_true", help="also measure a bare send loop with each step's subscribers"
    )
    parser.add_argument("--picture", type=Path, help="save a chart here")
    options = parser.parse_args()
    steps: list[Step] = options.steps
    raise_open_files_limit(max(step.subscribers for step in steps) + options.silent + OTHER_FILES)
    print_heading(parser.prog, PACKAGES)
    variables = {"EXCHANGE_API_PROCESSES": str(options.api_processes)}
    measured: list[Measured] = []
    with own_exchange(Path("manage.py").absolute(), variables=variables) as exchange:
        print(HEADER)
        for _ in range(options.runs):
            for step in steps:
                for silent in sorted({0, options.silent}):
                    measured.append(run_step(exchange, step, options.seconds, options.processes, silent))
                    print(measured[-1].row(), flush=True)
    if options.runs > 1:
        print(f"\nmedians of {options.runs} runs")
        for case, figures in medians(measured).items():
            print(f"{conditions(*case)} {figures.row()}")
    if options.bare:
        print("\nbare send loop: the highest rate of deliveries per second with a p99 of at most 250 ms")
        for subscribers in dict.fromkeys(step.subscribers for step in steps):
            print(f"{subscribers:>11,} {measure_bare(subscribers, options.seconds, options.processes)}")
    if options.picture:
        save_picture(measured, options.picture)
    sys.exit(0 if all(one.is_whole for one in measured) else 1)


def parse_steps(text: str) -> list[Step]:
    """Parse `--steps`. Raises ValueError."""
    pairs = (step.split("x") for step in text.split(","))
    return [Step(int(subscribers), int(rate)) for subscribers, rate in pairs]


def run_step(exchange: OwnExchange, step: Step, seconds: int, processes: int, silent: int) -> Measured:
    """Send orders at a rate while subscribers receive the stream."""
    api = api_processes(exchange)
    mebibytes_before = memory(api)
    subscribers = Subscribers(exchange.target, step.subscribers, processes=processes, channels=CHANNELS)
    with subscribers, silent_clients(exchange.target, silent):
        mebibytes_with = memory(api)
        subscribers.take_counts()
        seconds_before = processor_seconds(api)
        load = run_load(target=exchange.target, plan=Plan.open_loop(step.rate, seconds))
        time.sleep(LAST_WORDS_SECONDS)
        counts = subscribers.take_counts()
        return Measured(
            step=step,
            silent=silent,
            counts=counts,
            load=load,
            api_seconds=processor_seconds(api) - seconds_before,
            mebibytes_before=mebibytes_before,
            mebibytes_with=mebibytes_with,
            mebibytes_after=memory(api),
        )


@contextmanager
def silent_clients(target: Target, count: int) -> Iterator[None]:
    """Open clients that never read, and print when the exchange has closed all of them."""
    closed_before = slow_consumers(target)
    connections = [
        open_stream(target, *CHANNELS, receive_buffer_bytes=SILENT_RECEIVE_BYTES) for _ in range(count)
    ]
    started = time.monotonic()

    def watch() -> None:
        while time.monotonic() - started < SILENT_SECONDS_MAX:
            if slow_consumers(target) - closed_before >= count:
                print(f"{count} silent clients closed after {time.monotonic() - started:.1f} s", flush=True)
                return
            time.sleep(POLL_SECONDS)
        print(f"silent clients closed: {slow_consumers(target) - closed_before:.0f} of {count}", flush=True)

    watching = Thread(target=watch)
    if count:
        watching.start()
    try:
        yield
    finally:
        if count:
            watching.join()
        for connection in connections:
            connection.close()


def slow_consumers(target: Target) -> float:
    """Return how many clients the exchange has closed because they did not read."""
    with urllib.request.urlopen(f"http://{target.authority}/metrics") as answer:
        found = SLOW_CONSUMERS.search(answer.read().decode())
    return float(found[1]) if found else 0.0


def measure_bare(subscribers: int, seconds: int, processes: int) -> str:
    """Return the highest rate of deliveries with a p99 of at most LATE_MILLISECONDS."""
    best = "none"
    for interval in BARE_RAMP_SECONDS:
        variables = {"BARE_STREAM_INTERVAL_SECONDS": str(interval)}
        with served("benchmarks.bare_stream:application", variables) as target:
            crowd = Subscribers(target, subscribers, processes=processes, channels=CHANNELS)
            with crowd:
                crowd.take_counts()
                started = time.monotonic()
                time.sleep(seconds)
                counts = crowd.take_counts()
                elapsed = time.monotonic() - started
        if counts.lateness_at(99) > LATE_MILLISECONDS:
            break
        best = f"{counts.messages / elapsed:>13,.0f}   p99 {counts.lateness_at(99)} ms"
    return best


def api_processes(exchange: OwnExchange) -> list[psutil.Process]:
    """Return the API's processes. If there are several, the first is their supervisor."""
    first = next(process for process in exchange.process_ids() if "uvicorn" in command_line(process))
    return [psutil.Process(first), *psutil.Process(first).children(recursive=True)]


def processor_seconds(processes: list[psutil.Process]) -> float:
    """Return the user and system time of all processes so far."""
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def memory(processes: list[psutil.Process]) -> float:
    """Return the PSS of all processes in MiB."""
    return sum(mebibytes(process.pid) for process in processes)


def save_picture(measured: list[Measured], path: Path) -> None:
    """Draw lateness over deliveries per second.

    There is a line for each number of subscribers, and a point for each rate of orders.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    ramps: defaultdict[str, list[tuple[float, float, int]]] = defaultdict(list)
    for (step, silent), figures in medians(measured).items():
        crowd = f"{step.subscribers:,} subscribers" + (f" with {silent} silent" if silent else "")
        ramps[crowd].append((figures.deliveries_per_second, figures.lateness_p99, step.rate))
    for crowd, points in ramps.items():
        deliveries, lateness, rates = zip(*sorted(points), strict=True)
        axes.plot(deliveries, lateness, "o-", label=crowd)
        for x, y, rate in zip(deliveries, lateness, rates, strict=True):
            axes.annotate(  # The label is below the point, because the lines rise.
                f"{rate}/s", (x, y), (0, -14), textcoords="offset points", ha="center", fontsize="small"
            )
    axes.axhline(LATE_MILLISECONDS, color="#c0504d", linestyle="--")
    axes.set_xlabel("deliveries a second, of one API process")
    axes.set_ylabel("lateness p99, ms")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_ylim(bottom=0)
    axes.margins(x=0.08)
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
