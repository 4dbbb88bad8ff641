"""Measure the trading screen in headless Chromium: `python -m benchmarks.screen`.

Each part starts an exchange of its own, and opens the screen on it with orders of the load mix:
- frames: animation frames while orders arrive, with a blank page and a screen at rest by turns;
- heap: the page's memory after garbage was collected, each minute;
- reconnects: the connection is broken each minute, and the ladder compared with the exchange's book;
- paint: from the navigation to the first painted row of the book, and the sizes of the files;
- clients: the exchange's orders/s without clients, with many that subscribe as the screen does, and
  with a real screen beside them.

Headless Chromium draws without a graphics card, so frames cost processor time that a desktop does
not have. Except for `clients`, the exchange is bound to the first core, and the browser and the
load generator to the other ones.
"""

import argparse
import sys
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Browser

from benchmarks.report import print_heading
from benchmarks.screen.clients import measure_clients
from benchmarks.screen.frames import measure_frames
from benchmarks.screen.heap import measure_heap
from benchmarks.screen.paint import measure_paint
from benchmarks.screen.reconnects import check_reconnects
from loadtools.arguments import whole_number
from loadtools.chromium import MISSING, chromium, chromium_path

PACKAGES = ("django", "channels", "uvicorn", "playwright")
SECONDS_MAX = 600
MINUTES_MAX = 240
RATE_MAX = 5_000
PARTS: dict[str, Callable[[Browser, Any], bool]] = {
    "frames": lambda browser, given: measure_frames(
        browser, rate=given.rate, seconds=given.seconds, runs=given.runs, pinned=given.pin
    ),
    "paint": lambda browser, given: measure_paint(browser, loads=given.loads, pinned=given.pin),
    "clients": lambda browser, given: measure_clients(
        browser, clients=given.clients, seconds=given.client_seconds, runs=given.runs
    ),
    "heap": lambda browser, given: measure_heap(
        browser, rate=given.rate, minutes=given.heap_minutes, pinned=given.pin
    ),
    "reconnects": lambda browser, given: check_reconnects(
        browser, rate=given.rate, minutes=given.reconnect_minutes, pinned=given.pin
    ),
}


def parser() -> argparse.ArgumentParser:
    """Return the parser of the options. Each bounds a part in count and time."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.screen",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=[], help="all, if none is named")

    def add(name: str, least: int, most: int, default: int, meaning: str) -> None:
        parser.add_argument(
            name, type=whole_number(least, most), default=default, help=f"{meaning} ({default})"
        )

    add("--rate", 1, RATE_MAX, 200, "orders a second, of frames, heap and reconnects")
    add("--runs", 1, 100, 3, "of each case, of frames and clients")
    add("--seconds", 5, SECONDS_MAX, 30, "of each case of frames")
    add("--loads", 1, 1_000, 10, "of the page, of paint")
    add("--clients", 1, 5_000, 50, "of the stream, of clients")
    add("--client-seconds", 1, SECONDS_MAX, 8, "of each case of clients")
    add("--heap-minutes", 1, MINUTES_MAX, 10, "of heap")
    add("--reconnect-minutes", 1, MINUTES_MAX, 20, "of reconnects")
    parser.add_argument("--no-pin", dest="pin", action="store_false", help="bind no process to a core")
    return parser


def main() -> None:
    """Run the parts, and end with 1 if the screen showed something wrong."""
    given = parser().parse_args()
    if chromium_path() is None:
        sys.exit(MISSING)
    print_heading("python -m benchmarks.screen", PACKAGES)
    is_right = True
    with chromium() as browser:
        print(f"browser   Chromium {browser.version}, headless")
        for part in given.parts or PARTS:
            print(f"\n{part}\n", flush=True)
            is_right = PARTS[part](browser, given) and is_right
    sys.exit(0 if is_right else 1)


if __name__ == "__main__":
    main()
