"""Measures what clients of the stream cost the rate of orders: none, many, and a real screen too.

The clients subscribe to the same channels as the screen. The cases run by turns on one exchange.
"""

import contextlib
import statistics
import time
from collections.abc import Iterator
from typing import NamedTuple

from playwright.sync_api import Browser

from benchmarks.screen.market import load_average, market, read, send
from benchmarks.screen.page import CLIENT, SYMBOL, diagnostics, new_context, open_screen, sleep
from loadtools.generator import Plan
from loadtools.subscribers import Subscribers
from loadtools.wire import Target

SIZE = {"width": 1440, "height": 900}
CONNECTIONS = 32
LAST_WORDS_SECONDS = 2.0  # Time in which the last messages arrive.
RATE_MAX = 20_000  # Only bounds the number of requests of the closed loop.


class ClientFigures(NamedTuple):
    """Figures of one run, or medians of several. Latencies are in ms."""

    orders_per_second: float
    p50: float
    p99: float
    deliveries_per_second: float  # Deltas and trades, without those to the screen.
    lateness_p50: float
    lateness_p99: float

    def row(self) -> str:
        formats = ("9,.0f", "7.1f", "7.1f", "13,.0f", "12,.0f", "12,.0f")
        return " ".join(f"{figure:>{form}}" for figure, form in zip(self, formats, strict=True))


def measure_clients(browser: Browser, *, clients: int, seconds: int, runs: int) -> bool:
    """Print the figures of each case and run, then medians. Return whether all clients kept up."""
    cases = {"no client": (0, False), f"{clients} clients": (clients, False)}
    cases[f"{clients} clients, 1 screen"] = (clients, True)
    measured: dict[str, list[ClientFigures]] = {case: [] for case in cases}
    keeps_up = True
    print(
        f"{'case':<24} {'orders/s':>9} {'p50 ms':>7} {'p99 ms':>7} {'deliveries/s':>13} {'late p50 ms':>12}"
        f" {'late p99 ms':>12} closed   load"
    )
    with market(pinned=False) as exchange:
        for _ in range(runs):
            for case, (count, has_screen) in cases.items():
                opened = _screen(browser, exchange.target) if has_screen else contextlib.nullcontext()
                with opened:
                    figures, closed = _measure(exchange.target, count, seconds)
                measured[case].append(figures)
                keeps_up = keeps_up and closed == 0
                print(f"{case:<24} {figures.row()} {closed:>6} {load_average():>6}", flush=True)
    print(f"medians of {runs} runs")
    for case, all_figures in measured.items():
        medians = ClientFigures(*map(statistics.median, zip(*all_figures, strict=True)))
        print(f"{case:<24} {medians.row()}")
    return keeps_up


def _measure(target: Target, count: int, seconds: int) -> tuple[ClientFigures, int]:
    """Send orders while `count` clients follow. Return the figures, and how many were closed."""
    plan = Plan(
        requests=RATE_MAX * seconds, duration_seconds=seconds, rate_per_second=None, connections=CONNECTIONS
    )
    symbols = [instrument["symbol"] for instrument in read(target, "/instruments")["instruments"]]
    with Subscribers(target, count, processes=1, requests=subscriptions_of(symbols)) as subscribers:
        subscribers.take_counts()
        load = send(target, plan)
        time.sleep(LAST_WORDS_SECONDS)
        counts = subscribers.take_counts()
    figures = ClientFigures(
        load.achieved_per_second,
        load.latencies.milliseconds_at(50),
        load.latencies.milliseconds_at(99),
        counts.messages / load.outcome.elapsed_seconds,
        counts.lateness_at(50),
        counts.lateness_at(99),
    )
    return figures, counts.closed


def subscriptions_of(symbols: list[str]) -> tuple[dict[str, object], ...]:
    """Return the messages with which the screen subscribes: see screen/frontend/src/store.ts."""
    return (
        {"type": "subscribe", "channels": ["orderbook_deltas", "trades"], "instrument": [SYMBOL]},
        {"type": "subscribe", "channels": ["candles"], "instrument": [SYMBOL], "interval": "1m"},
        {"type": "subscribe", "channels": ["ticker"], "instrument": symbols},
        {"type": "subscribe", "channels": ["orders"], "instrument": symbols, "client_id": CLIENT},
    )


@contextlib.contextmanager
def _screen(browser: Browser, target: Target) -> Iterator[None]:
    """Show the screen. Raises RuntimeError if it had a wrong book."""
    with new_context(browser, viewport=SIZE) as context:
        page = open_screen(context, target.url)
        yield
        sleep(page, LAST_WORDS_SECONDS)
        if diagnostics(page)["checksumMismatches"]:
            raise RuntimeError("the screen's book had a wrong checksum")
