"""The market that the screen is measured with: an exchange with a day of candles, and its load."""

import contextlib
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import psutil

from benchmarks.screen.page import CLIENT, SYMBOL
from loadtools.exchange import OwnExchange, own_exchange
from loadtools.generator import Plan
from loadtools.run import LoadRun, run_load
from loadtools.wire import Target

MANAGE_PY = Path("manage.py").absolute()
MIDDLE = Decimal(70_000)  # Of the load's prices.
FILLING_SECONDS = 10  # The book has some thousand orders after them.
FILLING_RATE = 300
_ANSWER_SECONDS_MAX = 30.0
# Levels of each side beyond the load's prices, so that no side of the book is ever empty.
_WALL_LEVELS = 15
_WALL_OFFSET = 55
_WALL_QUANTITY = Decimal(9_000)  # More than the load takes.
_RESTING = ((-45, "0.2"), (-20, "0.1"), (25, "0.1"), (48, "0.2"))  # Offset from the middle, quantity.


@contextmanager
def market(*, pinned: bool) -> Iterator[OwnExchange]:
    """Start an exchange with a made past and a full book.

    If `pinned` is true, all its processes share the first core, and this process with its browser
    gets the other cores.
    """
    cores = os.sched_getaffinity(0)
    with own_exchange(MANAGE_PY) as exchange:
        if pinned and len(cores) > 1:
            first = min(cores)
            ours = {os.getpid(), *(child.pid for child in psutil.Process().children(recursive=True))}
            theirs = set(exchange.process_ids())
            pin(theirs, {first})
            pin(ours - theirs, cores - {first})
        try:
            make_past(exchange)
            with orders_arriving(exchange.target, FILLING_RATE, FILLING_SECONDS):
                pass
            place_resting_orders(exchange.target)
            yield exchange
        finally:
            pin({os.getpid()}, cores)


def pin(processes: set[int], cores: set[int]) -> None:
    """Bind all threads of processes to some cores. Later threads and children inherit that."""
    for process in processes:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # It has ended.
            for thread in Path(f"/proc/{process}/task").iterdir():
                os.sched_setaffinity(int(thread.name), cores)


def make_past(exchange: OwnExchange) -> None:
    """Give the instrument a day of candles, so that the chart draws as much as a real one."""
    command = [sys.executable, str(MANAGE_PY), "make_history", "--instruments", f"{SYMBOL}:{MIDDLE}"]
    environment = dict(exchange.environment)
    subprocess.run(command, cwd=MANAGE_PY.parent, env=environment, check=True, capture_output=True)


def place_resting_orders(target: Target) -> None:
    """Give the client orders, which the screen draws over the chart, and the book its outer levels."""
    for level in range(_WALL_LEVELS):
        for side, sign in (("buy", -1), ("sell", 1)):
            price = MIDDLE + sign * (_WALL_OFFSET + level)
            place(target, client="wall", side=side, type="limit", price=price, quantity=_WALL_QUANTITY)
    for offset, quantity in _RESTING:
        side = "buy" if offset < 0 else "sell"
        place(target, side=side, type="limit", price=MIDDLE + offset, quantity=Decimal(quantity))


def place(
    target: Target, *, instrument: str = SYMBOL, client: str = CLIENT, **terms: str | Decimal
) -> Mapping[str, Any]:
    """Place an order and return the answer. Raises urllib.error.HTTPError."""
    body = {"instrument": instrument, "client_id": client}
    body |= {name: str(value) for name, value in terms.items()}
    request = urllib.request.Request(
        f"{target.url}/orders", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=_ANSWER_SECONDS_MAX) as answer:
        order: Mapping[str, Any] = json.load(answer, parse_float=Decimal)
    return order


def read(target: Target, path: str) -> Any:
    """Return the answer of a GET, with exact numbers. Raises urllib.error.HTTPError."""
    with urllib.request.urlopen(f"{target.url}{path}", timeout=_ANSWER_SECONDS_MAX) as answer:
        return json.load(answer, parse_float=Decimal, parse_int=Decimal)


@contextmanager
def orders_arriving(target: Target, rate: int, seconds: int) -> Iterator["Future[LoadRun] | None"]:
    """Send orders at a rate in another thread. At the end of the block, wait for the last one.

    A rate of 0 sends none. The other thread is needed because Playwright has the main thread's loop.
    """
    with ThreadPoolExecutor(1) as executor:
        plan = Plan.open_loop(rate, seconds) if rate else None
        yield executor.submit(run_load, target=target, plan=plan) if plan else None


def send(target: Target, plan: Plan) -> LoadRun:
    """Send the mix of orders, and return the result."""
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(run_load, target=target, plan=plan).result()


def load_average() -> str:
    """Return the machine's load average of one minute, to print beside figures."""
    return f"{os.getloadavg()[0]:.1f}"
