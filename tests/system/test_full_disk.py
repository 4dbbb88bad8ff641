"""A full disk: orders are refused, none is lost, and trading resumes once there is room again."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.patience import PATIENCE_SECONDS
from tests.system.exchange import ROOT, RunningExchange, copy_prepared_folder, wait_until

DISK = "size=400m,mode=0755"
BLOCK_BYTES = 64 * 1024
CROWD = 10  # orders at a time
CROWDS_UNTIL_REFUSED_MAX = 1_000
READS = ("/orderbook", "/orders", "/trades", "/instruments")
SEEN_SECONDS_MAX = PATIENCE_SECONDS


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """The folder of a small file system that only this test uses."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", DISK, "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("this account may not mount file systems")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(file: Path) -> None:
    """Write to the file until its disk has no room for another byte."""
    size = BLOCK_BYTES
    with file.open("wb", buffering=0) as written:
        while size:
            try:
                written.write(bytes(size))
            except OSError:
                size //= 2


def place(http: httpx.Client, key: str) -> httpx.Response:
    order = {"client_id": "full-disk", "instrument": "BTC-USD", "side": "buy", "type": "limit"}
    return http.post("/orders", json={**order, "price": 100, "quantity": 1, "idempotency_key": key})


@pytest.mark.long
def test_a_full_disk_loses_no_order_and_trading_resumes_with_room_again(disk: Path) -> None:
    with (
        RunningExchange(copy_prepared_folder(disk / "data")) as exchange,
        httpx.Client(base_url=exchange.url, timeout=PATIENCE_SECONDS) as http,
    ):
        answer = place(http, "before")
        assert answer.status_code == 201, answer.text
        acknowledged = {"before": answer.json()["order_id"]}
        fill(disk / "filler")
        for crowd in range(CROWDS_UNTIL_REFUSED_MAX):
            keys = [f"key-{crowd}-{number}" for number in range(CROWD)]
            with ThreadPoolExecutor(CROWD) as threads:
                answers = dict(zip(keys, threads.map(lambda key: place(http, key), keys), strict=True))
            acknowledged |= {
                key: answer.json()["order_id"] for key, answer in answers.items() if answer.status_code == 201
            }
            if not acknowledged.keys() & answers.keys():
                break
        else:
            raise AssertionError("the disk is not full")
        refused = {(answer.status_code, answer.json()["error"]["code"]) for answer in answers.values()}
        assert refused <= {(503, "unavailable"), (504, "outcome_unknown")}
        wait_until(
            lambda: http.get("/healthz").status_code == 503,
            f"the exchange is unhealthy\n{exchange.log()}",
            SEEN_SECONDS_MAX,
        )
        assert http.get("/healthz").json()["checks"]["matching"] != "ok"
        for path in READS:
            assert http.get(path).status_code == 200, path

        (disk / "filler").unlink()

        exchange.await_health()
        assert place(http, "afterwards").status_code == 201
        for key, order_id in acknowledged.items():
            again = place(http, key)
            assert (again.status_code, again.json()["order_id"]) == (200, order_id)
        audit = subprocess.run(
            [sys.executable, "manage.py", "audit"],
            cwd=ROOT,
            env=exchange.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert audit.returncode == 0, audit.stdout + audit.stderr
