"""Measures whether the screen's memory grows while orders arrive.

Each minute the garbage is collected, and the rest is measured. What the screen must keep grows
until its bounds, mainly by a candle a minute, so the first minute is not measured.
"""

import statistics
import time

from playwright.sync_api import Browser

from benchmarks.screen.market import load_average, market, orders_arriving
from benchmarks.screen.page import Heap, diagnostics, new_context, open_screen, open_session, read_heap, sleep

WARM_UP_SECONDS = 60
SIZE = {"width": 1440, "height": 900}
SPARE_SECONDS = 30  # Of load beyond the last measurement.


def measure_heap(
    browser: Browser, *, rate: int, minutes: int, pinned: bool, minute_seconds: int = 60
) -> bool:
    """Print the heap of each minute, and its slope. Return True: nothing is judged."""
    heaps: list[Heap] = []
    with market(pinned=pinned) as exchange, new_context(browser, viewport=SIZE) as context:
        page = open_screen(context, exchange.target.url)
        session = open_session(page)
        print(f"{'minute':>6} {'heap KiB':>9} {'nodes':>7} {'listeners':>9} {'checksums':>10} {'load':>6}")
        seconds = WARM_UP_SECONDS + minutes * minute_seconds + SPARE_SECONDS
        with orders_arriving(exchange.target, rate, seconds) as sending:
            started = time.monotonic() + WARM_UP_SECONDS
            for minute in range(minutes + 1):
                sleep(page, started + minute * minute_seconds - time.monotonic())
                heaps.append(read_heap(session))
                used, nodes, listeners = heaps[-1]
                verified = diagnostics(page)["checksumsVerified"]
                print(
                    f"{minute:>6} {used / 1024:>9,.0f} {nodes:>7,} {listeners:>9,} {verified:>10,}"
                    f" {load_average():>6}",
                    flush=True,
                )
            load = sending.result() if sending else None
    kibibytes = [heap.used_bytes / 1024 for heap in heaps]
    slope = statistics.linear_regression(range(len(kibibytes)), kibibytes).slope
    print(
        f"slope {slope:+,.1f} KiB a minute, least {min(kibibytes):,.0f} and greatest {max(kibibytes):,.0f} KiB"
    )
    if load:
        print(f"{load.achieved_per_second:,.0f} orders/s, {load.outcome.errors.total()} errors")
    return True
