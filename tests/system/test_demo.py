"""`make demo`: bots trade on an exchange with a made past, and outlive its outages."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest

from hosting.embedded.locations import Locations
from hosting.embedded.servers import EmbeddedServers
from tests import examples
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


def kill_worker(demo: "subprocess.Popen[bytes]") -> None:
    """Kill the matching worker of the demo's exchange. The exchange starts another one."""
    killed = 0
    for process in psutil.Process(demo.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if "run_matching" in process.cmdline():
                process.kill()
                killed += 1
    assert killed


def ensure_the_past_is_made_once(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Check that each chart is full, and that another demo on this data would make no past."""
    for plan in examples.demo.PLANS:
        query = {"instrument": plan.symbol, "limit": "1000"}
        page = httpx.get(f"{url}/candles", params=query, timeout=PATIENCE_SECONDS).json()
        assert len(page["candles"]) == 1_000
    with monkeypatch.context() as patched:
        patched.setattr(subprocess, "run", lambda command, **_: pytest.fail(f"started {command}"))
        examples.demo.make_past(url, {})


@pytest.mark.long
def test_the_demo_trades_and_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
            ticker = httpx.get(f"{url}/ticker", timeout=PATIENCE_SECONDS).json()
        except httpx.HTTPError:
            return False
        if "trade_count" not in ticker:  # an outage
            return False
        count = ticker["trade_count"]
        trades_before.append(count)
        return bool(count >= trades_before[0] + 2 and ticker["bid"] and ticker["ask"])

    try:
        wait_until(is_moving, "the market moves", MOVING_SECONDS_MAX)
        ensure_the_past_is_made_once(url, monkeypatch)
        assert f"The market is open:  http://localhost:{port}/\n" in printed.read_text()
        wait_until(lambda: re.search(r"BTC-USD \d", printed.read_text()), "the prices are printed")
        kill_worker(demo)
        trades_before.clear()
        wait_until(is_moving, "the market moves again after the worker was killed", MOVING_SECONDS_MAX)
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
