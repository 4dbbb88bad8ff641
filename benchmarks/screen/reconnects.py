"""Checks that the ladder is the exchange's book, whatever happens to the connection.

Each minute orders arrive, the connection is broken in one of three ways, and the screen connects
again. At the end of the minute no order arrives for a moment, and the drawn ladder is compared with
the exchange's book.
"""

import time
from collections.abc import Mapping
from decimal import Decimal

from playwright.sync_api import Browser, Page

from benchmarks.screen.market import load_average, market, orders_arriving, read
from benchmarks.screen.page import SYMBOL, Row, diagnostics, new_context, open_screen, read_ladder, sleep
from loadtools.relay import Relay
from loadtools.wire import Target

SIZE = {"width": 1440, "height": 900}
CUT_AFTER_SECONDS = 12.0
REFUSED_SECONDS = 5.0
RECOVERED_SECONDS_MAX = 45.0  # A silent connection is given up after 13 s.
EQUAL_SECONDS_MAX = 60.0  # On a busy machine the browser may be far behind.
QUIET_SECONDS = 8  # At the end of a minute, in which no order arrives.
POLL_SECONDS = 0.2
WAYS = ("closed", "refused", "silent")  # The ways in which the connection is broken, by turns.
LIVE = ".connection-open"
NUMBERS = ("snapshots", "checksumsVerified", "checksumMismatches", "gaps", "connectionsLost")


def check_reconnects(
    browser: Browser, *, rate: int, minutes: int, pinned: bool, minute_seconds: int = 60
) -> bool:
    """Print each minute's figures. Return whether no checksum and no ladder was wrong."""
    is_right = True
    print(
        f"{'minute':>6} {'broken':>8} {'back after':>10} {'snapshots':>9} {'checksums':>10} {'mismatches':>10}"
        f" {'gaps':>5} {'lost':>5} {'rows':>5} {'equal':>6} {'after':>7} {'load':>6}"
    )
    with (
        market(pinned=pinned) as exchange,
        Relay(exchange.target) as relay,
        new_context(browser, viewport=SIZE) as context,
    ):
        page = open_screen(context, relay.target.url)
        for minute in range(1, minutes + 1):
            way = WAYS[minute % len(WAYS)]
            with orders_arriving(exchange.target, rate, minute_seconds - QUIET_SECONDS):
                sleep(page, CUT_AFTER_SECONDS)
                back_after = break_connection(page, relay, way)
            ended = time.monotonic()
            rows, difference = compare(page, exchange.target)
            equal_after = time.monotonic() - ended
            sleep(page, 1.5)  # The screen counts anew each second.
            counts = diagnostics(page)
            snapshots, checksums, mismatches, gaps, lost = (counts[name] for name in NUMBERS)
            print(
                f"{minute:>6} {way:>8} {back_after:>8.1f} s {snapshots:>9,} {checksums:>10,} {mismatches:>10,}"
                f" {gaps:>5,} {lost:>5,} {rows:>5} {'no' if difference else 'yes':>6} {equal_after:>5.1f} s"
                f" {load_average():>6}",
                flush=True,
            )
            if difference:
                print(difference)
            is_right = is_right and not difference and mismatches == 0
    return is_right


def break_connection(page: Page, relay: Relay, way: str) -> float:
    """Break the connection. Return the seconds until the screen has a new book: up to 1 s too many.

    Raises TimeoutError if it does not get one.
    """
    before = diagnostics(page)
    started = time.monotonic()
    if way == "silent":
        relay.freeze()
    elif way == "closed":
        relay.cut()
    else:
        relay.refuse()
        sleep(page, REFUSED_SECONDS)
        relay.accept()
    while not _has_recovered(page, before):
        if time.monotonic() > started + RECOVERED_SECONDS_MAX:
            raise TimeoutError(f"no new book after a connection was {way}: {diagnostics(page)}")
        sleep(page, POLL_SECONDS)
    return time.monotonic() - started


def _has_recovered(page: Page, before: Mapping[str, int]) -> bool:
    counts = diagnostics(page)
    is_new = all(counts[name] > before[name] for name in ("connectionsLost", "snapshots"))
    return is_new and page.locator(LIVE).count() == 1


def compare(page: Page, target: Target) -> tuple[int, str | None]:
    """Return how many drawn rows were compared, and the difference to the exchange's book, if any.

    The screen gets some time to draw the last change.
    """
    deadline = time.monotonic() + EQUAL_SECONDS_MAX
    while True:
        rows, difference = _compare_once(page, target)
        if difference is None or time.monotonic() > deadline:
            return rows, difference
        sleep(page, POLL_SECONDS)


def _compare_once(page: Page, target: Target) -> tuple[int, str | None]:
    shown = read_ladder(page)
    book = read(target, f"/orderbook?instrument={SYMBOL}&levels={shown.room}")
    for name, drawn in (("bids", shown.bids), ("asks", shown.asks)):
        right = [_row(level) for level in book[name]]
        if drawn != right:
            return 0, f"{name} drawn {drawn}\n{name} right {right}"
    return len(shown.bids) + len(shown.asks), None


def _row(level: dict[str, Decimal]) -> Row:
    return level["price"], level["quantity"], level["cumulative"]
