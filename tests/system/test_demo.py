"""`make demo`: bots trade on an exchange, and the example client prints its ticker."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import psycopg

from hosting.embedded.locations import Locations
from hosting.embedded.servers import EmbeddedServers
from tests.environment import free_port
from tests.patience import PATIENCE_SECONDS
from tests.system.exchange import ROOT, copy_prepared_folder, wait_until

MOVING_SECONDS_MAX = PATIENCE_SECONDS
STOP_SECONDS_MAX = PATIENCE_SECONDS


def open_orders(data_dir: Path) -> int:
    """Return how many open orders the database of a stopped exchange has. Fail if it has no order."""
    locations = Locations(data_dir)
    with (
        EmbeddedServers(locations, valkey=False),
        psycopg.connect(locations.postgres_uri) as connection,
    ):
        ((count,),) = connection.execute(
            "SELECT count(*) FILTER (WHERE status IN ('open', 'partially_filled')) FROM orders_order"
            " HAVING count(*) > 0"
        )
    return int(count)


def test_the_demo_trades_and_stops(tmp_path: Path) -> None:
    """The demo uses the data folder of an earlier exchange."""
    data_dir = copy_prepared_folder(tmp_path / "data")
    port = free_port()
    environment = {**os.environ, "PORT": str(port), "EXCHANGE_DATA_DIR": str(data_dir)}
    # The demo must not use the Redis of another exchange.
    environment["REDIS_URL"] = f"redis://127.0.0.1:{free_port()}/0"
    printed = tmp_path / "printed"
    with printed.open("wb") as output:
        demo = subprocess.Popen(
            [sys.executable, "examples/python/demo.py"],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}"
    trades_before: list[int] = []

    def is_moving() -> bool:
        assert demo.poll() is None, printed.read_text()
        try:
            ticker = httpx.get(f"{url}/ticker").json()
        except httpx.HTTPError:
            return False
        count = ticker.get("trade_count", 0)
        trades_before.append(count)
        return bool(count >= trades_before[0] + 5 and ticker["bid"] and ticker["ask"])

    try:
        wait_until(is_moving, "the market moves", MOVING_SECONDS_MAX)
        assert httpx.get(f"{url}/candles").json()["candles"]
        wait_until(lambda: re.search(r"last \d", printed.read_text()), "the ticker is printed")
    finally:
        demo.send_signal(signal.SIGINT)
        demo.wait(STOP_SECONDS_MAX)
    assert demo.returncode == 0, printed.read_text()
    assert "Traceback" not in printed.read_text()
    assert open_orders(data_dir) == 0  # the bots have cancelled their orders


def test_the_demo_ends_if_its_port_is_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        environment = {**os.environ, "PORT": str(other.getsockname()[1])}
        demo = subprocess.run(
            [sys.executable, "examples/python/demo.py"],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=STOP_SECONDS_MAX,
            check=False,
        )
    assert (demo.returncode, demo.stdout) == (1, "")
    assert "is in use" in demo.stderr
