"""A living market: `make demo` starts an exchange, on which market makers trade.

Prints the ticker once a second until Ctrl-C. The exchange listens on PORT, and keeps its data in
EXCHANGE_DATA_DIR (default .demo).
"""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path

import httpx
from exchange_client import Market
from market_maker import quote, stop_on_signals

ROOT = Path(__file__).resolve().parents[2]
BOTS = ("mia", "noah", "olga", "pete")
INSTRUMENT = "BTC-USD"
PRICE = Decimal(70_000)
LEVELS = 5
SECONDS = 0.5  # Time between two quotes of a bot.
HEALTHY_WITHIN_SECONDS = 60.0
POLL_SECONDS = 0.1
STOP_SECONDS_MAX = 20.0
REPLACED_VARIABLES = ("POSTGRES_URI", "REDIS_URL", "EXCHANGE_METRICS_DIR")  # Of another exchange.
LINE = "{time}  last {last}  bid {bid}  ask {ask}  24 h: {trade_count} trades, {volume}, {change_percent} %"


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
            asyncio.run(trade(url))
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


async def trade(url: str) -> None:
    """Let the bots trade and print the ticker, until a signal comes or a bot fails."""
    stop_on_signals()
    async with asyncio.TaskGroup() as group:
        for seed, name in enumerate(BOTS):
            group.create_task(
                quote(url, name, INSTRUMENT, price=PRICE, levels=LEVELS, seconds=SECONDS, seed=seed)
            )
        async for message in Market(url, INSTRUMENT, "ticker", throttle_ms=1_000):
            if message["type"] == "ticker" and message["last"] is not None:
                print(LINE.format(time=message["timestamp"][11:19], **message), flush=True)


if __name__ == "__main__":
    main()
