"""A living market: `make demo` starts an exchange with a made past, on which bots trade.

It prints where to look, and the last prices every few seconds until Ctrl-C. The exchange listens on
PORT, and keeps its data in EXCHANGE_DATA_DIR (default .demo). The made past is made once.
"""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Coroutine
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import httpx
from demo_bots import PLANS, DemoMaker, FairPrice, MarketPlan, Taker, cancel_all, outlive_outages
from exchange_client import Market, Message, Trader
from market_maker import stop_on_signals

ROOT = Path(__file__).resolve().parents[2]
MAKERS = ("mia", "noah")
TAKER = "olga"
QUOTE_SECONDS = 2.0  # Time between two quotes of a maker.
HEALTHY_WITHIN_SECONDS = 60.0
POLL_SECONDS = 0.1
PRINT_SECONDS = 10.0
STOP_SECONDS_MAX = 20.0
REPLACED_VARIABLES = ("POSTGRES_URI", "REDIS_URL", "EXCHANGE_METRICS_DIR")  # Of another exchange.
BANNER = """
{line}

    The market is open:  {url}

    Ctrl-C stops it. Its data stays in {folder}.

{line}
"""


def main() -> None:
    """Run the market. Stops the exchange at the end."""
    port = os.environ.get("PORT", "8000")
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        sys.exit(
            f"port {port} is in use: stop the program there, or choose another port: PORT=8100 make demo"
        )
    environment = {name: value for name, value in os.environ.items() if name not in REPLACED_VARIABLES}
    environment = {"EXCHANGE_DATA_DIR": str(ROOT / ".demo"), **environment, "EXCHANGE_RATE_LIMIT": "off"}
    command = [sys.executable, "manage.py", "serve"]
    exchange = subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True)  # noqa: S603
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    url = f"http://127.0.0.1:{port}"
    try:
        if await_health(exchange, url):
            make_past(url, environment)
            fairs = [fair_price(url, plan) for plan in PLANS]
            shown = f"http://localhost:{port}/"
            print(
                BANNER.format(line="=" * 80, url=shown, folder=environment["EXCHANGE_DATA_DIR"]), flush=True
            )
            asyncio.run(trade(url, exchange, shown, fairs))
    except (KeyboardInterrupt, asyncio.CancelledError):
        pass
    finally:
        exchange.terminate()
        exchange.wait(STOP_SECONDS_MAX)
    sys.exit(exchange.returncode)


def await_health(exchange: "subprocess.Popen[bytes]", url: str) -> bool:
    """Return whether the exchange became healthy. If not, the exchange prints the problem."""
    deadline = time.monotonic() + HEALTHY_WITHIN_SECONDS
    while exchange.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{url}/healthz").status_code == httpx.codes.OK:
                return True
        time.sleep(POLL_SECONDS)
    return False


def make_past(url: str, environment: dict[str, str]) -> None:
    """Give each instrument a day of candles, unless it has some. If that fails, its chart is empty."""
    empty = []
    for plan in PLANS:
        if not read(f"{url}/candles", {"instrument": plan.symbol, "limit": "1"})["candles"]:
            empty.append(f"{plan.symbol}:{plan.home}")
    if empty:
        command = [sys.executable, "manage.py", "make_history", "--skip-used", "--instruments", *empty]
        subprocess.run(command, cwd=ROOT, env=environment, check=False)  # noqa: S603


def fair_price(url: str, plan: MarketPlan) -> FairPrice:
    """Return a fair price that begins at the last price, or at home if there is none."""
    last = read(f"{url}/ticker", {"instrument": plan.symbol})["last"]
    return FairPrice(plan.home if last is None else Decimal(last), plan.home, Random(f"fair {plan.symbol}"))


def read(url: str, query: dict[str, str]) -> Message:
    """Return the answer, for which the exchange is asked again in an outage. Raises httpx.HTTPError."""
    deadline = time.monotonic() + HEALTHY_WITHIN_SECONDS
    while True:
        try:
            content: Message = httpx.get(url, params=query).raise_for_status().json(parse_float=Decimal)
            return content
        except httpx.HTTPError:
            if time.monotonic() > deadline:
                raise
        time.sleep(POLL_SECONDS)


async def trade(url: str, exchange: "subprocess.Popen[bytes]", shown: str, fairs: list[FairPrice]) -> None:
    """Let the bots trade and print the prices, until a signal comes or the exchange ends."""
    stop_on_signals()
    bots: list[Coroutine[Any, Any, None]] = [await_end(exchange), print_prices(url, shown)]
    for plan, fair in zip(PLANS, fairs, strict=True):
        bots += [fair.run(), take(url, plan, fair), *(quote(url, name, plan, fair) for name in MAKERS)]
    tasks = [asyncio.create_task(bot) for bot in bots]
    try:
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in ended:
            task.result()  # Raises if the bot has an error of its own.
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def await_end(exchange: "subprocess.Popen[bytes]") -> None:
    """Return soon after the exchange has ended."""
    while exchange.poll() is None:  # noqa: ASYNC110 - no event tells of it
        await asyncio.sleep(POLL_SECONDS)


async def quote(url: str, name: str, plan: MarketPlan, fair: FairPrice) -> None:
    """Run a market maker. Each instrument has its own client, so each has a dead man's switch."""
    market = Market(url, plan.symbol)  # Not followed: the fair price is all that it needs.
    random = Random(f"{name} {plan.symbol}")
    async with Trader(url, f"{name}-{plan.symbol}") as trader:

        async def run() -> None:
            await cancel_all(trader, plan.symbol)  # Left over from before an outage.
            await DemoMaker(trader, market, plan, fair, random).run(QUOTE_SECONDS)

        await outlive_outages(run)


async def take(url: str, plan: MarketPlan, fair: FairPrice) -> None:
    """Run a taker."""
    random = Random(f"{TAKER} {plan.symbol}")
    async with Trader(url, f"{TAKER}-{plan.symbol}") as trader:
        await outlive_outages(Taker(trader, plan, fair, random).run)


async def print_prices(url: str, shown: str) -> None:
    """Print the last prices every PRINT_SECONDS."""
    async with httpx.AsyncClient(timeout=10) as http:
        while True:
            with contextlib.suppress(httpx.HTTPError):
                tickers = (await http.get(f"{url}/tickers")).raise_for_status().json(parse_float=Decimal)
                prices = [
                    f"{ticker['instrument']} {ticker['last']} ({ticker['change_percent'] or 0:+.2f} %)"
                    for ticker in tickers["tickers"]
                    if ticker["last"] is not None
                ]
                print(f"{datetime.now(UTC):%H:%M:%S}", *prices, shown, sep="   ", flush=True)
            await asyncio.sleep(PRINT_SECONDS)


if __name__ == "__main__":
    main()
