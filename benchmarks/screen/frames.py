"""Measures how smoothly the screen draws while orders arrive.

The page records the time of each animation frame. Cases run by turns: a blank page shows what the
browser can do on this machine, and the screen without orders what the screen costs at rest.
"""

import itertools
import statistics
from typing import NamedTuple

from playwright.sync_api import Browser, Page

from benchmarks.screen.market import load_average, market, orders_arriving
from benchmarks.screen.page import await_full, browser_seconds, new_context, sleep
from loadtools.exchange import OwnExchange

SIZE = {"width": 1440, "height": 900}
BLANK = "about:blank"
SETTLE_SECONDS = 3.0
_RECORD = """() => {
  const recorded = {frames: [], tasks: [], isRunning: true};
  const take = now => {
    if (recorded.isRunning) { recorded.frames.push(now); requestAnimationFrame(take); }
  };
  requestAnimationFrame(take);
  recorded.observer = new PerformanceObserver(list => {
    recorded.tasks.push(...list.getEntries().map(entry => entry.duration));
  });
  recorded.observer.observe({type: 'longtask'});
  globalThis.recorded = recorded;
}"""
_STOP = """() => {
  const {frames, tasks, observer} = recorded;
  recorded.isRunning = false;
  observer.disconnect();
  return {frames, tasks};
}"""


class FrameFigures(NamedTuple):
    """Figures of one run, or medians of several. Shares are percent of one core."""

    frames_per_second: float  # From the median interval.
    frames_per_second_mean: float
    p95_milliseconds: float
    longest_milliseconds: float
    long_tasks: float
    longest_task_milliseconds: float
    renderer_percent: float
    gpu_percent: float
    others_percent: float
    exchange_percent: float

    def row(self) -> str:
        formats = ("9.1f", "9.1f", "8.1f", "8.0f", "10.0f", "8.0f", "9.0f", "6.0f", "7.0f", "9.0f")
        return " ".join(f"{figure:>{form}}" for figure, form in zip(self, formats, strict=True))


HEADER = (
    f"{'page':<22} {'frames/s':>9} {'(mean)':>9} {'p95 ms':>8} {'longest':>8} {'long tasks':>10} {'longest':>8}"
    f" {'renderer%':>9} {'gpu%':>6} {'others%':>7} {'exchange%':>9}  orders/s   load"
)


def measure_frames(browser: Browser, *, rate: int, seconds: int, runs: int, pinned: bool) -> bool:
    """Print the figures of each case and run, then medians. Return True: nothing is judged."""
    cases = {"blank": -1, "screen, no orders": 0, f"screen, {rate} orders/s": rate}
    measured: dict[str, list[FrameFigures]] = {case: [] for case in cases}
    with market(pinned=pinned) as exchange, new_context(browser, viewport=SIZE) as context:
        page = context.new_page()
        print(HEADER)
        for _ in range(runs):
            for case, orders in cases.items():
                if orders < 0:
                    page.goto(BLANK)
                else:
                    page.goto(exchange.target.url)
                    await_full(page)
                sleep(page, SETTLE_SECONDS)
                measured[case].append(_measure(page, exchange, case, max(0, orders), seconds))
    if runs > 1:
        print(f"medians of {runs} runs")
        for case, figures in measured.items():
            medians = FrameFigures(*map(statistics.median, zip(*figures, strict=True)))
            print(f"{case:<22} {medians.row()}")
    return True


def _measure(page: Page, exchange: OwnExchange, case: str, rate: int, seconds: int) -> FrameFigures:
    """Measure one page for some seconds."""
    with orders_arriving(exchange.target, rate, seconds) as sending:
        sleep(page, 1.0)  # The generator opens its connections.
        before, exchange_before = browser_seconds(), exchange.processor_seconds() or 0.0
        page.evaluate(_RECORD)
        sleep(page, seconds - 2.0)
        recorded = page.evaluate(_STOP)
        after, exchange_after = browser_seconds(), exchange.processor_seconds() or 0.0
        load = sending.result() if sending else None
    frames: list[float] = recorded["frames"]
    tasks: list[float] = recorded["tasks"]
    intervals = sorted(later - sooner for sooner, later in itertools.pairwise(frames))
    span_seconds = (frames[-1] - frames[0]) / 1_000
    renderer, gpu, others = (
        (after.get(kind, 0.0) - before.get(kind, 0.0)) / span_seconds * 100
        for kind in ("renderer", "gpu", "others")
    )
    figures = FrameFigures(
        frames_per_second=1_000 / statistics.median(intervals),
        frames_per_second_mean=len(intervals) / span_seconds,
        p95_milliseconds=intervals[int(len(intervals) * 0.95)],
        longest_milliseconds=intervals[-1],
        long_tasks=len(tasks),
        longest_task_milliseconds=max(tasks, default=0.0),
        renderer_percent=renderer,
        gpu_percent=gpu,
        others_percent=others,
        exchange_percent=(exchange_after - exchange_before) / span_seconds * 100,
    )
    achieved = f"{load.achieved_per_second:,.0f}" if load else "0"
    print(f"{case:<22} {figures.row()}  {achieved:>8} {load_average():>6}", flush=True)
    return figures
