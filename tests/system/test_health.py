"""Health, metrics and log during faults.

The faults are a frozen worker, a partition without a worker, killed processes, and outages.
"""

import contextlib
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import psutil
import psycopg
import pytest
from redis import Redis
from websockets.sync.client import connect

from hosting.embedded.locations import Locations
from orders.messages import heartbeat_key
from tests.patience import PATIENCE_SECONDS
from tests.system.exchange import ROOT, START_SECONDS_MAX, RunningExchange, frozen, wait_until

CALLERS = 50
CALLS = 10
OTHER_PARTITION = """
INSERT INTO instruments_instrument (symbol, tick_size, lot_size, min_quantity, max_quantity, min_price, max_price,
                               status, partition)
VALUES ('XRP-USD', 0.01, 0.00000001, 0.00000001, 10000, 0.01, 10000000, 'active', 1)
"""


@pytest.fixture(scope="module")
def exchange() -> Iterator[RunningExchange]:
    with RunningExchange() as running:
        yield running


@pytest.fixture
def http(exchange: RunningExchange) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=exchange.url, timeout=PATIENCE_SECONDS) as client:
        yield client


def place(http: httpx.Client, instrument: str = "BTC-USD") -> httpx.Response:
    order = {"client_id": "watcher", "instrument": instrument, "side": "buy", "type": "limit"}
    return http.post("/orders", json={**order, "price": 100, "quantity": 1})


def metric(http: httpx.Client, name: str, **labels: str) -> float | None:
    """Return the sum of the series with these labels, or None if there is no such series."""
    found = []
    for line in http.get("/metrics").text.splitlines():
        series = re.fullmatch(rf"{name}(?:\{{(.*)\}})? (\S+)", line)
        if series and all(f'{label}="{text}"' in (series[1] or "") for label, text in labels.items()):
            found.append(float(series[2]))
    return sum(found) if found else None


def health(http: httpx.Client) -> tuple[int, dict[str, Any]]:
    answer = http.get("/healthz")
    document: dict[str, Any] = answer.json()
    return answer.status_code, document


def test_health_and_metrics_show_a_frozen_worker(exchange: RunningExchange, http: httpx.Client) -> None:
    assert place(http).status_code == 201
    wait_until(lambda: metric(http, "exchange_worker_up", partition="0") == 1, "the worker is up")
    assert metric(http, "exchange_oldest_command_age_seconds", partition="0") == 0
    with (
        Redis.from_url(Locations(exchange.data_dir).redis_url) as redis,
        ThreadPoolExecutor(1) as thread,
        frozen(exchange.part("run_matching")),
    ):
        redis.set(heartbeat_key(0), b"the last one")
        waiting = thread.submit(place, http)
        wait_until(lambda: metric(http, "exchange_queue_length", partition="0") == 1, "the order waits")
        redis.expire(heartbeat_key(0), 1)
        wait_until(lambda: metric(http, "exchange_worker_up", partition="0") == 0, "the worker is down")
        for age in (1, 2):
            wait_until(
                lambda: (metric(http, "exchange_oldest_command_age_seconds", partition="0") or 0) > age,  # noqa: B023
                f"the waiting command is {age} s old",
            )
        assert health(http)[0] == 503
        assert http.get("/livez").json() == {"status": "alive"}
        waiting.result()
    wait_until(lambda: metric(http, "exchange_worker_up", partition="0") == 1, "the worker is up again")
    wait_until(lambda: metric(http, "exchange_queue_length", partition="0") == 0, "the order was processed")
    assert metric(http, "exchange_oldest_command_age_seconds", partition="0") == 0


def test_metrics_without_redis_leave_out_the_state_in_redis(
    exchange: RunningExchange, http: httpx.Client
) -> None:
    with frozen(exchange.part("valkey-server")):
        wait_until(lambda: metric(http, "exchange_partitions_known") == 0, "Redis does not answer")
        assert metric(http, "exchange_queue_length") is None
        assert metric(http, "exchange_orders_accepted_total") is not None
    wait_until(lambda: metric(http, "exchange_partitions_known") == 1, "Redis answers")


def test_metrics_show_the_resources_of_every_process(http: httpx.Client) -> None:
    for process in ("api", "worker 0"):
        labels = {"process": process}
        wait_until(lambda: metric(http, "exchange_process_open_files", **labels) is not None, process)  # noqa: B023
        for name in ("cpu_seconds", "resident_memory_bytes", "open_files_max", "start_time_seconds"):
            assert (metric(http, f"exchange_process_{name}", **labels) or 0) > 0


def test_many_health_and_metrics_requests_open_no_connections_to_redis(
    exchange: RunningExchange, http: httpx.Client
) -> None:
    def connections() -> int:
        with Redis.from_url(Locations(exchange.data_dir).redis_url) as redis:
            return int(redis.info("stats")["total_connections_received"])

    def call(path: str) -> set[int]:
        with httpx.Client(base_url=exchange.url, timeout=PATIENCE_SECONDS) as client:
            return {client.get(path).status_code for _ in range(CALLS)}

    # The worker and the API have connected again after an outage.
    wait_until(lambda: metric(http, "exchange_worker_up", partition="0") == 1, "the worker is up")
    wait_until(lambda: place(http).status_code == 201, "trading goes on")
    for path in ("/healthz", "/metrics", "/livez"):
        wait_until(lambda: http.get(path).status_code == 200, path)  # noqa: B023
        before = connections()
        with ThreadPoolExecutor(CALLERS) as threads:
            assert set().union(*threads.map(call, [path] * CALLERS)) == {200}
        assert connections() <= before + 1  # the one connection is this test's


def test_the_connections_of_a_killed_api_process_are_not_counted(
    exchange: RunningExchange, http: httpx.Client
) -> None:
    received = metric(http, "exchange_orders_received_total")
    with contextlib.ExitStack() as streams:
        for _ in range(3):
            streams.enter_context(connect(exchange.ws_url, open_timeout=PATIENCE_SECONDS))
        wait_until(lambda: metric(http, "exchange_websocket_connections") == 3, "the streams are counted")
        api = exchange.part("uvicorn")
        api.kill()
        wait_until(lambda: not psutil.pid_exists(api.pid), "the API process is gone")

    def answers() -> bool:
        with contextlib.suppress(httpx.HTTPError):
            return http.get("/metrics").status_code == 200
        return False

    wait_until(answers, "the new API process answers", START_SECONDS_MAX)
    assert metric(http, "exchange_websocket_connections") == 0
    assert metric(http, "exchange_orders_received_total") == received


def test_health_names_a_partition_without_a_worker_and_the_others_trade(
    exchange: RunningExchange, http: httpx.Client
) -> None:
    wait_until(lambda: health(http)[1]["status"] == "healthy", "the exchange is healthy at first")
    with psycopg.connect(Locations(exchange.data_dir).postgres_uri, autocommit=True) as database:
        database.execute(OTHER_PARTITION)
    wait_until(lambda: health(http)[1]["status"] == "degraded", "the new partition is noticed")
    status, document = health(http)
    assert status == 200
    assert document["checks"]["matching"].startswith("no worker matches partition 1:")
    assert document["checks"]["database"] == document["checks"]["redis"] == "ok"
    assert metric(http, "exchange_worker_up", partition="1") == 0
    assert place(http).status_code == 201
    assert place(http, "XRP-USD").status_code == 503
    worker = subprocess.Popen(
        [sys.executable, "manage.py", "run_matching", "--partition", "1"],
        cwd=ROOT,
        env=exchange.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(
            lambda: health(http)[1]["status"] == "healthy", "the new worker is noticed", START_SECONDS_MAX
        )
        assert place(http, "XRP-USD").status_code == 201
        accepted = {"partition": "1", "instrument": "XRP-USD"}
        wait_until(
            lambda: metric(http, "exchange_orders_accepted_total", **accepted) == 1, "the order is counted"
        )
        wait_until(lambda: metric(http, "exchange_resting_orders", **accepted) == 1, "the order rests")
        exchange.part("run_matching").send_signal(signal.SIGSTOP)
        wait_until(lambda: "partition 0:" in json.dumps(health(http)[1]["checks"]), "its worker is missed")
        assert health(http)[0] == 200
    finally:
        worker.kill()
        worker.wait()
    wait_until(lambda: health(http)[0] == 503, "no worker matches")
    assert health(http)[1]["status"] == "unhealthy"
    exchange.part("run_matching").send_signal(signal.SIGCONT)


def test_an_outage_logs_few_lines_however_many_orders_are_refused(
    exchange: RunningExchange, http: httpx.Client
) -> None:
    wait_until(lambda: place(http).status_code == 201, "trading goes on")
    wait_until(lambda: metric(http, "exchange_worker_up", partition="0") == 1, "the worker is up")
    before = len(exchange.log())
    with frozen(exchange.part("valkey-server")):
        wait_until(lambda: place(http).status_code == 503, "an order is refused")
        with ThreadPoolExecutor(20) as threads:
            answers = list(threads.map(lambda _: place(http).status_code, range(100)))
        assert set(answers) <= {503, 504}

    def lines(text: str) -> list[str]:
        return [line for line in exchange.log()[before:].splitlines() if text in line]

    wait_until(lambda: place(http).status_code == 201, "orders are accepted")
    for text in ("orders and cancels can't be appended", "replies can't be received", "partition 0: Redis"):
        wait_until(lambda: "back after" in (lines(text) or [""])[-1], f"its end is logged: {text}")  # noqa: B023
        assert "back after" not in lines(text)[0]
        assert len(lines(text)) <= 4
