"""`manage.py serve`: starts, stops, restarts after kills, placement on CPUs, and refusals to start."""

import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import pytest
from pytest_django.fixtures import Settings

from exchange_site.environment import Environment
from hosting.embedded.locations import Locations
from hosting.embedded.servers import EmbeddedServers
from hosting.supervisor import startup
from tests.patience import PATIENCE_SECONDS
from tests.system.exchange import ROOT, RunningExchange, copy_prepared_folder, of_each, wait_until

WORKER_SESSIONS = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'exchange-matching %'"
ALL_CPUS = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def health_status(exchange: RunningExchange) -> int | None:
    """Return the status of GET /healthz, or None if there is no answer."""
    try:
        return exchange.get("/healthz").status_code
    except httpx.HTTPError:
        return None


def place_order(exchange: RunningExchange, instrument: str = "BTC-USD") -> dict[str, object]:
    """Place an order that rests, and return it as it was acknowledged.

    A part may just have been killed. After an answer with 503 or 504, the order is sent again with its
    key.
    """
    order = {
        "client_id": "patient",
        "instrument": instrument,
        "side": "buy",
        "type": "limit",
        "price": 1,
        "quantity": 1,
        "idempotency_key": str(uuid.uuid4()),
    }
    answers: list[httpx.Response] = []

    def is_accepted() -> bool:
        answers.append(httpx.post(f"{exchange.url}/orders", json=order, timeout=PATIENCE_SECONDS))
        return answers[-1].status_code not in (503, 504)

    wait_until(is_accepted, f"an order is accepted\n{exchange.log()}")
    assert answers[-1].status_code in (200, 201), answers[-1].text
    acknowledged: dict[str, object] = answers[-1].json()
    return acknowledged


def serve_and_wait(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a `serve` that should end by itself, and return its output and status."""
    return subprocess.run(
        [sys.executable, "manage.py", "serve"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


@pytest.fixture(scope="module")
def usual_ports_in_use() -> Iterator[None]:
    """Hold the usual ports of PostgreSQL and Redis, which an exchange must not need."""
    with contextlib.ExitStack() as holders:
        for port in (5432, 6379):
            with contextlib.suppress(OSError):  # another program holds the port already
                holders.enter_context(socket.create_server(("127.0.0.1", port)))
        yield


@pytest.fixture(scope="module")
def exchange(usual_ports_in_use: None) -> Iterator[RunningExchange]:
    """An exchange whose parts these tests kill."""
    with RunningExchange() as running:
        yield running


def test_the_exchange_is_healthy_when_it_says_that_it_is_open(exchange: RunningExchange) -> None:
    assert health_status(exchange) == 200


def test_command_lines_identify_the_worker_and_the_servers(exchange: RunningExchange) -> None:
    assert exchange.part("run_matching")
    for program in ("bin/postgres", "valkey-server"):
        assert str(exchange.data_dir) in " ".join(exchange.part(program).cmdline())


def test_the_exchange_listens_on_its_port_only(exchange: RunningExchange) -> None:
    connections = of_each(exchange.processes(), lambda process: process.net_connections("tcp"))
    listening = {
        connection.laddr.port
        for connection in itertools.chain(*connections)
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {exchange.port}


def affinities(exchange: RunningExchange) -> dict[str, list[int]]:
    """Return the CPUs that each part may use, after the worker has committed an order.

    The session of a worker that was killed may outlive it for a moment.
    """
    place_order(exchange)
    sessions: list[int] = []

    def has_one_session() -> bool:
        sessions[:] = [pid for (pid,) in connection.execute(WORKER_SESSIONS)]
        return len(sessions) == 1

    with psycopg.connect(Locations(exchange.data_dir).postgres_uri, autocommit=True) as connection:
        wait_until(has_one_session, "the worker has one session")
    (session,) = sessions
    parts = {
        word: exchange.part(word) for word in ("run_matching", "valkey-server", "uvicorn", "bin/postgres")
    }
    return {word: part.cpu_affinity() for word, part in {**parts, "session": psutil.Process(session)}.items()}


@pytest.mark.skipif(len(ALL_CPUS) < 2, reason="needs two CPUs and a system with CPU affinity")
@pytest.mark.parametrize("killed", [None, "run_matching", "valkey-server", "bin/postgres"])
def test_the_worker_its_session_and_valkey_share_one_cpu_and_other_parts_use_all(
    exchange: RunningExchange, killed: str | None
) -> None:
    if killed is not None:
        exchange.part(killed).kill()
        exchange.await_health()
    found = affinities(exchange)
    assert len(found["run_matching"]) == 1
    assert found["run_matching"] != ALL_CPUS[:1]  # the first CPU serves the interrupts
    assert found["run_matching"] == found["session"] == found["valkey-server"]
    assert found["uvicorn"] == found["bin/postgres"] == ALL_CPUS


@pytest.fixture
def large_machine(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend to be Linux with eight CPUs, and embedded servers that may be placed on any of them."""
    monkeypatch.setattr(startup, "LINUX", True)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    settings.ENVIRONMENT = Environment()


@pytest.mark.usefixtures("large_machine")
@pytest.mark.parametrize(
    ("chosen", "usable", "cpu"),
    [
        ("off", {0, 1}, None),
        ("auto", {3}, None),
        ("auto", {2, 5}, 5),
        ("2", {2, 5}, 2),
    ],
)
def test_the_workers_cpu_is_chosen_from_the_usable_ones(
    chosen: str, usable: set[int], cpu: int | None, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.ENVIRONMENT = Environment(exchange_worker_cpu=chosen)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: usable)
    assert startup.worker_cpu() == cpu


@pytest.mark.usefixtures("large_machine")
@pytest.mark.parametrize(
    ("variables", "cpu"),
    [
        ({"postgres_uri": "postgres://elsewhere/exchange"}, None),
        ({"redis_url": "redis://elsewhere"}, None),
        ({"redis_url": "redis://elsewhere", "exchange_worker_cpu": "4"}, 4),
    ],
)
def test_a_cpu_is_chosen_by_itself_only_if_both_servers_are_embedded(
    variables: dict[str, Any], cpu: int | None, settings: Settings
) -> None:
    settings.ENVIRONMENT = Environment(**variables)
    assert startup.worker_cpu() == cpu


@pytest.mark.usefixtures("large_machine")
def test_exchanges_on_a_large_machine_use_all_cpus_but_the_first(settings: Settings) -> None:
    found = set()
    for number in range(100):
        settings.LOCATIONS = Locations(Path(f"/data/{number}"))
        found.add(startup.worker_cpu())
    assert found == set(range(1, 8))


def test_a_missing_cpu_is_refused_with_one_line_and_status_1(tmp_path: Path) -> None:
    outcome = serve_and_wait(
        {**os.environ, "EXCHANGE_DATA_DIR": str(tmp_path), "EXCHANGE_WORKER_CPU": "9999"}
    )
    assert outcome.returncode == 1
    (line,) = outcome.stderr.splitlines()
    assert "EXCHANGE_WORKER_CPU=9999" in line


def test_an_idle_exchange_uses_less_than_500_mib(exchange: RunningExchange) -> None:
    resident = sum(of_each(exchange.processes(), lambda process: process.memory_full_info().uss))
    assert resident < 500 * 1024 * 1024


def test_a_signal_stops_every_process(tmp_path: Path) -> None:
    """The data folder is new, and its path has spaces."""
    with RunningExchange(tmp_path / "a folder with spaces" / "data") as exchange:
        assert "the password" in exchange.log()
        order = place_order(exchange)
        assert exchange.stop(signal.SIGTERM) == 0
        assert "Traceback" not in exchange.log()
        exchange.start()
        assert exchange.get(f"/orders/{order['order_id']}").json() == order
        assert health_status(exchange) == 200
        assert "the password" not in exchange.log()
        assert exchange.stop(signal.SIGHUP) == 0
        assert "Traceback" not in exchange.log()


@pytest.mark.long
def test_the_path_of_the_data_folder_may_be_too_long_for_a_socket(tmp_path: Path) -> None:
    folder = tmp_path / ("a-name-too-long-for-the-path-of-a-socket-" * 3)
    with RunningExchange(copy_prepared_folder(folder / "data")) as exchange:
        place_order(exchange)
        assert exchange.stop(signal.SIGINT) == 0
        assert "Traceback" not in exchange.log()


@pytest.mark.long
def test_every_partition_with_instruments_has_a_worker() -> None:
    exchange = RunningExchange(variables={"EXCHANGE_API_PROCESSES": "2"})
    locations = Locations(exchange.data_dir)
    with EmbeddedServers(locations, valkey=False), psycopg.connect(locations.postgres_uri) as connection:
        connection.execute("UPDATE instruments_instrument SET partition = 3 WHERE symbol = 'ETH-USD'")
    with exchange:
        with psycopg.connect(locations.postgres_uri) as connection:
            assert connection.execute("SHOW max_connections").fetchone() == ("80",)
        for symbol in ("BTC-USD", "ETH-USD"):
            place_order(exchange, symbol)
        commands = of_each(exchange.processes(), lambda process: " ".join(process.cmdline()))
        for partition in (0, 3):
            assert sum(f"run_matching --partition={partition}" in command for command in commands) == 1


@pytest.mark.long
def test_a_signal_during_the_start_stops_every_process(tmp_path: Path) -> None:
    exchange = RunningExchange(tmp_path / "data")
    exchange.launch()
    wait_until(lambda: exchange.child("postgres"), "PostgreSQL is being started")
    assert exchange.stop() == 0
    with exchange:
        assert health_status(exchange) == 200


def test_a_busy_port_is_refused_with_one_line_and_status_1(tmp_path: Path) -> None:
    exchange = RunningExchange(tmp_path / "data")
    with socket.create_server(("127.0.0.1", exchange.port)):
        outcome = serve_and_wait(exchange.environment)
    assert outcome.returncode == 1
    assert outcome.stdout == ""
    assert len(outcome.stderr.splitlines()) == 1
    assert str(exchange.port) in outcome.stderr
    assert not (tmp_path / "data" / "postgres").exists()


def test_an_address_of_another_machine_is_refused_with_one_line_and_status_1(tmp_path: Path) -> None:
    exchange = RunningExchange(tmp_path / "data", {"EXCHANGE_BIND": "192.0.2.1"})
    outcome = serve_and_wait(exchange.environment)
    assert outcome.returncode == 1
    assert len(outcome.stderr.splitlines()) == 1
    assert "EXCHANGE_BIND" in outcome.stderr


def test_a_second_serve_on_the_same_data_folder_is_refused(exchange: RunningExchange, tmp_path: Path) -> None:
    other = RunningExchange(tmp_path / "unused")
    outcome = serve_and_wait({**other.environment, "EXCHANGE_DATA_DIR": str(exchange.data_dir)})
    assert outcome.returncode == 1
    assert len(outcome.stderr.splitlines()) == 1
    assert str(exchange.data_dir) in outcome.stderr
    assert health_status(exchange) == 200


def test_an_unusable_data_folder_is_refused_with_one_line_and_status_1(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    exchange = RunningExchange(tmp_path / "file" / "data")
    outcome = serve_and_wait(exchange.environment)
    assert outcome.returncode == 1
    assert len(outcome.stderr.splitlines()) == 1
    assert "EXCHANGE_DATA_DIR" in outcome.stderr


@pytest.mark.parametrize("word", ["run_matching", "exchange_site.asgi", "valkey-server", "bin/postgres"])
def test_serve_restarts_a_part_that_is_killed(exchange: RunningExchange, word: str) -> None:
    killed = exchange.part(word)
    killed.kill()
    wait_until(lambda: (new := exchange.child(word)) and new.pid != killed.pid, f"{word} is back")
    exchange.await_health()
    place_order(exchange)


def count_bids(exchange: RunningExchange) -> int:
    return sum(level["orders"] for level in exchange.get("/orderbook").json()["bids"])


def test_a_start_after_any_kill_has_all_acknowledged_orders(exchange: RunningExchange) -> None:
    before = count_bids(exchange)
    acknowledged = []
    for kill in (exchange.kill, exchange.kill_serve, exchange.kill):
        acknowledged.append(place_order(exchange))
        kill()
        exchange.start()
        assert health_status(exchange) == 200
        for order in acknowledged:
            assert exchange.get(f"/orders/{order['order_id']}").json() == order
    assert count_bids(exchange) == before + len(acknowledged)


def test_serve_stops_the_processes_that_a_killed_serve_left_behind(exchange: RunningExchange) -> None:
    """A frozen child does not notice that its parent has ended. The next start must stop the child."""
    frozen = [exchange.part("bin/postgres"), exchange.part("exchange_site.asgi")]
    for process in frozen:
        process.suspend()
    assert exchange.process is not None
    exchange.process.kill()
    exchange.process.wait()
    exchange.start()
    assert health_status(exchange) == 200
    new = {process.pid for process in exchange.processes()}
    assert not {process.pid for process in frozen} & new
