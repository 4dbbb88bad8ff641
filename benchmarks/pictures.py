"""Takes the pictures of the trading screen for the documents: `make pictures`.

Starts a demo market of its own, lets a client trade on it, and writes the screen as PNG files to
`docs/`: dark, light, with the depth chart, and on a phone.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image
from playwright.sync_api import Browser, Page

from benchmarks.screen.market import place, read
from benchmarks.screen.page import new_context, open_screen, sleep
from loadtools.chromium import chromium
from loadtools.exchange import free_port, health_problem
from loadtools.wire import Target

DEMO = Path("examples/python/demo.py")
STARTS_SECONDS_MAX = 120.0
LIVELY_SECONDS_MAX = 300.0
STOPS_SECONDS_MAX = 30.0
POLL_SECONDS = 0.5
SETTLE_SECONDS = 6.0  # By then the round trip that is shown is not that of the busy start.
TRADES_MIN = 45  # More than the list of trades shows.
TAPE_ROWS_MIN = 10
COLOURS = 256
BYTES_MAX = 250_000
# What the client does, in the order of time: fills first, then orders that rest or wait. Prices are
# percent above the last price.
FILLS = (("BTC-USD", "buy", "0.06"), ("ETH-USD", "buy", "0.9"), ("BTC-USD", "sell", "0.02"))
TICK = Decimal("0.01")
ORDERS: tuple[dict[str, str], ...] = (
    {"side": "buy", "type": "limit", "price": "-0.07", "quantity": "0.05"},
    {"side": "buy", "type": "limit", "price": "-0.14", "quantity": "0.12"},
    {"side": "sell", "type": "limit", "price": "0.11", "quantity": "0.04"},
    {"side": "sell", "type": "limit", "price": "0.2", "quantity": "0.1"},
    {"side": "sell", "type": "stop", "trigger_price": "-0.22", "quantity": "0.04"},
)
PRICES = ("price", "trigger_price")
TAPE_ROW = ".tape-body .tape-row"
LADDER_ASK = "#ladder .asks .ladder-row"
QUANTITY = '[data-field="quantity"]'
SELECTORS = (TAPE_ROW, LADDER_ASK)
DRAFT_QUANTITY = "0.25"  # Typed into the ticket, which shows what it would cost.
DESKTOP = {"viewport": {"width": 1440, "height": 900}}
PHONE = {
    "viewport": {"width": 390, "height": 844},
    "device_scale_factor": 2,
    "is_mobile": True,
    "has_touch": True,
}


class Picture(NamedTuple):
    """A file, the browser that shows the screen for it, and the tab of the chart."""

    name: str
    options: dict[str, Any]
    chart: str = "candles"


PICTURES = (
    Picture("screen-dark.png", {**DESKTOP, "color_scheme": "dark"}),
    Picture("screen-light.png", {**DESKTOP, "color_scheme": "light"}),
    Picture("screen-depth.png", {**DESKTOP, "color_scheme": "dark"}, "depth"),
    Picture("screen-phone.png", {**PHONE, "color_scheme": "dark"}),
)


def main() -> None:
    """Take all pictures."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.pictures", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--folder", type=Path, default=Path("docs"), help="for the pictures (docs)")
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    with demo() as target:
        await_lively(target)
        trade(target)
        for picture in PICTURES:
            # Canvases are sharp only if the browser's own scale is that of the picture.
            scale = picture.options.get("device_scale_factor", 1)
            with chromium(f"--force-device-scale-factor={scale}") as browser:
                content = take(browser, target, picture)
            path = folder / picture.name
            save(content, path)
            print(f"{path}  {path.stat().st_size / 1_000:.0f} KB", flush=True)


@contextmanager
def demo() -> Iterator[Target]:
    """Run the demo market on a free port with temporary data. Raises RuntimeError if it fails."""
    target = Target("127.0.0.1", free_port())
    with tempfile.TemporaryDirectory(prefix="pictures-", ignore_cleanup_errors=True) as folder:
        environment = {**os.environ, "PORT": str(target.port), "EXCHANGE_DATA_DIR": f"{folder}/data"}
        process = subprocess.Popen(
            [sys.executable, str(DEMO)], env=environment, stdout=subprocess.DEVNULL, start_new_session=True
        )
        try:
            await_start(process, target)
            yield target
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(STOPS_SECONDS_MAX)


def await_start(process: "subprocess.Popen[bytes]", target: Target) -> None:
    """Wait until the exchange is healthy. Raises RuntimeError if that takes too long."""
    deadline = time.monotonic() + STARTS_SECONDS_MAX
    while (problem := health_problem(target)) is not None:
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the demo market does not start: {problem}")
        time.sleep(POLL_SECONDS)


def await_lively(target: Target) -> None:
    """Wait until enough trades have happened. Raises RuntimeError if that takes too long."""
    deadline = time.monotonic() + LIVELY_SECONDS_MAX
    while len(read(target, f"/trades?instrument=BTC-USD&limit={TRADES_MIN}")["trades"]) < TRADES_MIN:
        if time.monotonic() > deadline:
            raise RuntimeError("the demo market trades too little")
        time.sleep(POLL_SECONDS)


def trade(target: Target) -> None:
    """Give the client fills, resting orders on both sides, and a waiting one."""
    for instrument, side, quantity in FILLS:
        place(target, instrument=instrument, side=side, type="market", quantity=quantity)
    last = read(target, "/ticker?instrument=BTC-USD")["last"]
    for order in ORDERS:
        terms = {
            name: (last * (1 + Decimal(value) / 100)).quantize(TICK) if name in PRICES else value
            for name, value in order.items()
        }
        try:
            place(target, **terms)
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"the order was refused: {error.read().decode()}") from error


def take(browser: Browser, target: Target, picture: Picture) -> bytes:
    """Open the screen and return a picture of it, once it is full."""
    is_phone = "is_mobile" in picture.options
    with new_context(browser, **picture.options) as context:
        page = open_screen(context, target.url)
        page.locator(TAPE_ROW).nth(TAPE_ROWS_MIN - 1).wait_for(state="attached")
        if not is_phone:
            fill_ticket(page)
        if picture.chart == "depth":
            page.get_by_role("tab", name="Depth").click()
        sleep(page, SETTLE_SECONDS)
        return page.screenshot()


def fill_ticket(page: Page) -> None:
    """Begin an order: its price by a click on the ladder, and its quantity."""
    page.locator(LADDER_ASK).nth(-3).click()
    page.locator(QUANTITY).fill(DRAFT_QUANTITY)
    page.locator(QUANTITY).blur()
    page.mouse.move(0, 0)


def save(content: bytes, path: Path) -> None:
    """Write a PNG with at most COLOURS colours. Raises RuntimeError if it is too large."""
    picture = Image.open(BytesIO(content)).convert("RGB")
    reduced = picture.quantize(COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    reduced.save(path, optimize=True)
    if path.stat().st_size > BYTES_MAX:
        raise RuntimeError(f"{path} has {path.stat().st_size:,} bytes, more than {BYTES_MAX:,}")


if __name__ == "__main__":
    main()
