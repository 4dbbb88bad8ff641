"""The worker's process under load: it is killed, frozen or replaced, or Redis is emptied."""

import contextlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from redis import Redis

from hosting.embedded.locations import Locations
from marketdata.book import mirror_keys
from orders.messages import heartbeat_key, stream_key
from tests.matching.traffic import CLIENTS, Traffic
from tests.patience import PATIENCE_SECONDS
from tests.system.exchange import ROOT, RunningExchange, is_gone, wait_until

HEALTHY_SECONDS_MAX = PATIENCE_SECONDS  # after the worker was killed
COMMAND_SECONDS_MAX = PATIENCE_SECONDS


@pytest.fixture(scope="module")
def exchange() -> Iterator[RunningExchange]:
    """Yield an exchange whose processes these tests kill."""
    with RunningExchange() as running:
        yield running


@pytest.fixture
def redis(exchange: RunningExchange) -> Iterator[Redis]:
    with Redis.from_url(Locations(exchange.data_dir).redis_url) as client:
        yield client


@contextlib.contextmanager
def second_worker(exchange: RunningExchange) -> Iterator[tuple[psutil.Popen, Path]]:
    """Yield a second worker of the partition, once it waits as standby, and its log."""
    with tempfile.NamedTemporaryFile(prefix="exchange-standby-") as log:
        process = psutil.Popen(
            [sys.executable, "manage.py", "run_matching", "--partition", "0"],
            cwd=ROOT,
            env=exchange.environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        path = Path(log.name)
        try:
            wait_until(lambda: "standby" in path.read_text(), "the second worker waits")
            yield process, path
        finally:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
            process.wait()


def manage(exchange: RunningExchange, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=exchange.environment,
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS_MAX,
        check=False,
    )


def is_healthy(exchange: RunningExchange) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return exchange.get("/healthz").status_code == 200
    return False


def book(exchange: RunningExchange) -> Any:
    answer = exchange.get("/orderbook", params={"levels": 1000})
    assert answer.status_code == 200
    return answer.json(parse_float=Decimal) | {"timestamp": None}


def owner(redis: Redis) -> bytes | None:
    """Return the name of the worker that matches now. None if no worker does."""
    found: Any = redis.get(heartbeat_key(0))
    return bytes(found) if found else None


def assert_recovered(exchange: RunningExchange, traffic: Traffic) -> None:
    """Check that each acknowledged order is stored once and the worker has the database's books."""
    assert traffic.acknowledged
    assert traffic.missing() == set()

    def is_compared() -> bool:
        checked = manage(exchange, "recover", "--check")
        differences = re.findall(r"^  \S+: .*$", checked.stderr, re.MULTILINE)
        if differences and all(line.endswith("; trading went on") for line in differences):
            return False
        assert checked.returncode == 0, checked.stdout + checked.stderr
        assert "the live worker has the same books" in checked.stdout
        return True

    wait_until(is_compared, "the worker and the database are read at the same sequence")


def test_a_worker_that_is_killed_under_load_loses_no_order(exchange: RunningExchange) -> None:
    with Traffic(exchange, name="killed") as traffic:
        traffic.await_more()
        killed = psutil.Process(exchange.worker_pid())
        killed.kill()
        wait_until(lambda: is_gone(killed), "the worker is gone")
        # Each client had at most one order in flight. All further orders were sent after the kill.
        before = len(traffic.acknowledged) + CLIENTS
        wait_until(
            lambda: len(traffic.acknowledged) > before and is_healthy(exchange),
            f"orders taken again\n{exchange.log()}",
            HEALTHY_SECONDS_MAX,
        )
        assert_recovered(exchange, traffic)  # while trading goes on
    assert_recovered(exchange, traffic)


def test_a_worker_that_is_terminated_finishes_its_batch(exchange: RunningExchange) -> None:
    with Traffic(exchange, name="terminated") as traffic:
        traffic.await_more()
        stops_before = exchange.log().count("partition 0: stopped")
        terminated = psutil.Process(exchange.worker_pid())
        terminated.terminate()
        wait_until(lambda: is_gone(terminated), "the worker ends")
        assert exchange.log().count("partition 0: stopped") == stops_before + 1
        traffic.await_more()
    assert "Traceback" not in exchange.log()
    assert traffic.missing() == set()


def test_the_worker_fills_an_emptied_redis_again(exchange: RunningExchange, redis: Redis) -> None:
    with Traffic(exchange, name="emptied") as traffic:
        traffic.await_more()
        redis.flushall()
        traffic.await_more()
    # A client that got no answer in time does not know whether its last order is still on its way.
    wait_until(lambda: not redis.xlen(stream_key(0)), "all orders are matched")
    before = book(exchange)
    redis.flushall()
    sequence_key = mirror_keys(0, "BTC-USD").sequence
    wait_until(lambda: redis.get(sequence_key) is not None, "the mirror is back")
    assert book(exchange) == before
    assert int(redis.get(sequence_key) or 0) == before["sequence"]
    assert traffic.missing() == set()


def test_the_standby_takes_over_from_a_frozen_and_from_a_killed_worker(
    exchange: RunningExchange, redis: Redis
) -> None:
    with Traffic(exchange, name="standby") as traffic, second_worker(exchange) as (second, log):
        traffic.await_more()
        first = psutil.Process(exchange.worker_pid())
        first.suspend()
        wait_until(lambda: "partition 0: matching" in log.read_text(), "the second worker matches")
        traffic.await_more()
        standbys_before = exchange.log().count("standby")
        first.resume()
        wait_until(lambda: exchange.log().count("standby") > standbys_before, "the thawed worker waits")
        traffic.await_more()
        owner_before = owner(redis)
        second.kill()
        wait_until(lambda: owner(redis) not in (None, owner_before), "the first worker matches again")
        traffic.await_more()
        assert exchange.worker_pid() == first.pid
    assert_recovered(exchange, traffic)
