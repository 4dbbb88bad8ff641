"""Opens the trading screen in a browser, and reads what it shows, counts and uses."""

import json
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, NamedTuple

import psutil
from playwright.sync_api import Browser, BrowserContext, CDPSession, Page

SYMBOL = "BTC-USD"
CLIENT = "alice"
_FULL_SECONDS_MAX = 60.0
_HEAP_TRIES = 5
_ROWS_MIN = 5  # Drawn levels of each side in a book that counts as full.
# Kinds of Chromium's processes, by the words of their command lines.
# The browser's own pages have renderers, too.
_KINDS = {"--top-chrome-webui": "others", "--type=renderer": "renderer", "--type=gpu-process": "gpu"}

IS_FULL = """minimum => {
  const rows = side => [...document.querySelectorAll(`#ladder .${side} .ladder-row`)]
    .filter(row => row.style.visibility !== 'hidden').length;
  return rows('asks') >= minimum && rows('bids') >= minimum
    && document.querySelector('.connection-open') !== null
    && document.querySelector('.legend') !== null
    && document.querySelector('.chart-empty') === null;
}"""
LADDER = """() => {
  const cells = (row, name) => row.querySelector(`.ladder-${name}`).textContent;
  const rows = side => [...document.querySelectorAll(`#ladder .${side} .ladder-row`)];
  const shown = side => rows(side).filter(row => row.style.visibility !== 'hidden')
    .map(row => ['price', 'quantity', 'total'].map(name => cells(row, name)));
  return {asks: shown('asks').reverse(), bids: shown('bids'), room: rows('bids').length};
}"""
_DIAGNOSTICS = "() => globalThis.tradepost.diagnostics()"

Row = tuple[Decimal, Decimal, Decimal]  # Price, quantity, cumulative quantity.


class Ladder(NamedTuple):
    """The drawn rows of each side, best first. `room` is the greatest number of rows of a side."""

    bids: list[Row]
    asks: list[Row]
    room: int


class Heap(NamedTuple):
    """The page's memory after garbage was collected."""

    used_bytes: int
    nodes: int
    listeners: int


@contextmanager
def new_context(browser: Browser, *, client: str = CLIENT, **options: Any) -> Iterator[BrowserContext]:
    """Open a new profile that trades as `client`. `options` are those of Browser.new_context."""
    with browser.new_context(locale="en-GB", timezone_id="UTC", **options) as context:
        remembered = {"screen.client": client, "screen.instrument": SYMBOL}
        context.add_init_script(
            f"for (const [name, value] of Object.entries({json.dumps(remembered)}))"
            " try { localStorage.setItem(name, value) } catch { /* about:blank has none */ }"
        )
        yield context


def open_screen(context: BrowserContext, url: str) -> Page:
    """Open the screen in a new page, and wait until its book and chart are full."""
    page = context.new_page()
    page.goto(url)
    await_full(page)
    return page


def await_full(page: Page, *, rows: int = _ROWS_MIN) -> None:
    """Wait until the book has so many rows on each side and the chart has candles."""
    page.wait_for_function(IS_FULL, arg=rows, timeout=_FULL_SECONDS_MAX * 1_000, polling=200)


def read_ladder(page: Page) -> Ladder:
    """Return the rows of the order book as they are drawn."""
    shown = page.evaluate(LADDER)
    return Ladder(rows_of(shown["bids"]), rows_of(shown["asks"]), shown["room"])


def rows_of(texts: list[list[str]]) -> list[Row]:
    """Return the numbers of drawn rows."""
    rows = []
    for row in texts:
        price, quantity, cumulative = (Decimal(text.replace(",", "")) for text in row)
        rows.append((price, quantity, cumulative))
    return rows


def diagnostics(page: Page) -> Mapping[str, int]:
    """Return what the screen has counted. It counts anew each second, so this may be a second old."""
    counts: Mapping[str, int] = page.evaluate(_DIAGNOSTICS)
    return counts


def open_session(page: Page) -> CDPSession:
    """Return a session of the DevTools protocol for `read_heap`."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    return session


def read_heap(session: CDPSession) -> Heap:
    """Collect garbage, and return what is left.

    Messages arrive between the collection and the reading, so the least of several tries counts.
    """
    return min(_read_heap_once(session) for _ in range(_HEAP_TRIES))


def _read_heap_once(session: CDPSession) -> Heap:
    session.send("HeapProfiler.collectGarbage")
    metrics = {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}
    return Heap(int(metrics["JSHeapUsedSize"]), int(metrics["Nodes"]), int(metrics["JSEventListeners"]))


def browser_seconds() -> Mapping[str, float]:
    """Return the processor time of this process's browser by kind: renderer, gpu, others."""
    seconds: defaultdict[str, float] = defaultdict(float)
    for process in psutil.Process().children(recursive=True):
        try:
            command = " ".join(process.cmdline())
            used = sum(process.cpu_times()[:2])
        except psutil.Error:
            continue  # It has ended.
        if "chrom" in command:
            seconds[next((kind for word, kind in _KINDS.items() if word in command), "others")] += used
    return seconds


def sleep(page: Page, seconds: float) -> None:
    """Wait while Playwright goes on to handle the browser's events."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        page.wait_for_timeout(min(left, 1.0) * 1_000)
