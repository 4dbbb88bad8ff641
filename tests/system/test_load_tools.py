"""The load tools against a real exchange: load_test, create_fixtures, load_fixtures."""

import os
import re
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from hosting.embedded.locations import Locations
from loadtools.durability import Acknowledged, check_durability
from loadtools.exchange import StartError, health_problem, own_exchange
from loadtools.processor import processor_seconds
from loadtools.wire import Target
from tests.environment import exchange_variables
from tests.system.exchange import ROOT, RunningExchange, frozen, manage, wait_until


def count_orders(exchange: RunningExchange) -> int:
    with psycopg.connect(Locations(exchange.data_dir).postgres_uri) as connection:
        row = connection.execute("SELECT count(*) FROM orders_order").fetchone()
    assert row is not None
    return int(row[0])


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def exchange() -> Iterator[RunningExchange]:
    with RunningExchange() as running:
        yield running


def test_load_test_measures_the_running_exchange(exchange: RunningExchange, tmp_path: Path) -> None:
    before = count_orders(exchange)
    picture = tmp_path / "results" / "latency.png"
    variables = exchange.environment | {"TARGET_RPS": "100", "DURATION": "2"}
    result = manage(variables, "load_test", "--output", str(picture))
    assert result.returncode == 0, result.stdout + result.stderr
    assert "offered 100 orders/s" in result.stdout
    assert re.search(r"p50 [\d.,]+  p90 [\d.,]+  p99 [\d.,]+  p99\.9 [\d.,]+  max", result.stdout)
    assert "all 200 acknowledged orders are in the database" in result.stdout
    assert str(picture) in result.stdout
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert count_orders(exchange) == before + 200


def test_a_second_load_test_places_new_orders(exchange: RunningExchange, tmp_path: Path) -> None:
    before = count_orders(exchange)
    for _ in range(2):
        options = ("--rps=50", "--duration=1", "--connections=4", f"--output={tmp_path / 'latency.png'}")
        result = manage(exchange.environment, "load_test", *options)
        assert result.returncode == 0, result.stdout + result.stderr
    assert count_orders(exchange) == before + 100


def test_an_order_that_is_not_in_the_database_is_noticed(exchange: RunningExchange) -> None:
    lost = uuid.uuid4()
    acknowledged = Acknowledged()
    acknowledged.add(str(lost).encode())
    durability = check_durability(acknowledged, Locations(exchange.data_dir).postgres_uri)
    assert not durability.holds
    assert durability.missing == [lost]
    assert str(lost) in "\n".join(durability.report())


def test_one_order_for_two_acknowledgements_is_noticed(exchange: RunningExchange) -> None:
    with psycopg.connect(Locations(exchange.data_dir).postgres_uri) as connection:
        row = connection.execute("SELECT order_id FROM orders_order LIMIT 1").fetchone()
    assert row is not None
    acknowledged = Acknowledged()
    acknowledged.add(str(row[0]).encode())
    assert check_durability(acknowledged, Locations(exchange.data_dir).postgres_uri).holds
    acknowledged.add(str(row[0]).encode())
    assert not check_durability(acknowledged, Locations(exchange.data_dir).postgres_uri).holds


def test_fixtures_are_reproducible_and_sent_only_once(exchange: RunningExchange, tmp_path: Path) -> None:
    first, second = tmp_path / "the first.jsonl", tmp_path / "the second.jsonl"
    options = ("--orders=300", "--seed=7", "--instrument=BTC-USD:70000.00", "--instrument=ETH-USD:3500.00")
    created = {
        path: manage(exchange.environment, "create_fixtures", *options, f"--output={path}")
        for path in (first, second)
    }
    assert [result.returncode for result in created.values()] == [0, 0], created
    assert first.read_bytes() == second.read_bytes()
    assert manage(exchange.environment, "create_fixtures", *options).stdout.encode() == first.read_bytes()

    before = count_orders(exchange)
    (command,) = re.findall("Send them with: (.*)", created[first].stdout)
    without_port = {name: value for name, value in exchange.environment.items() if name != "PORT"}
    sent = subprocess.run(
        ["sh", "-c", command], cwd=ROOT, env=without_port, capture_output=True, text=True, check=False
    )
    assert sent.returncode == 0, sent.stdout + sent.stderr
    assert "300 orders created, 0 were there already, 0 failed" in sent.stdout
    again = manage(exchange.environment, "load_fixtures", str(second), "--connections=3")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "0 orders created, 300 were there already, 0 failed" in again.stdout
    assert count_orders(exchange) == before + 300


def test_nothing_of_a_bad_file_is_sent(exchange: RunningExchange, tmp_path: Path) -> None:
    path = tmp_path / "orders.jsonl"
    assert (
        manage(exchange.environment, "create_fixtures", "--orders=20", "--output", str(path)).returncode == 0
    )
    path.write_text(path.read_text() + '{"side": "sideways"}\n')
    before = count_orders(exchange)
    result = manage(exchange.environment, "load_fixtures", str(path))
    assert result.returncode == 1
    assert "line 21" in result.stderr
    assert "Nothing was sent" in result.stderr
    assert count_orders(exchange) == before


def test_the_port_is_named_where_no_exchange_is(tmp_path: Path) -> None:
    path = tmp_path / "orders.jsonl"
    variables = exchange_variables(tmp_path / "data")
    assert manage(variables, "create_fixtures", "--orders=1", f"--output={path}").returncode == 0
    result = manage(variables, "load_fixtures", str(path))
    assert result.returncode == 1
    assert f"PORT={variables['PORT']} make run" in result.stderr


def test_orders_that_the_exchange_refuses_are_reported(exchange: RunningExchange, tmp_path: Path) -> None:
    path = tmp_path / "orders.jsonl"
    options = ("--orders=5", "--instrument=NO-SUCH:100.0000", f"--output={path}")
    assert manage(exchange.environment, "create_fixtures", *options).returncode == 0
    result = manage(exchange.environment, "load_fixtures", str(path))
    assert result.returncode == 1
    assert "400: 5" in result.stdout
    assert "5 orders were not taken" in result.stderr


def test_a_rate_limit_is_named_with_its_remedy(tmp_path: Path) -> None:
    with RunningExchange(variables={"EXCHANGE_RATE_LIMIT": "1/hour"}) as limited:
        options = ("--rps=200", "--duration=1", f"--output={tmp_path / 'latency.png'}")
        result = manage(limited.environment, "load_test", *options)
    assert result.returncode == 1
    assert "x 429 rate_limited" in result.stdout
    assert f"EXCHANGE_RATE_LIMIT=off PORT={limited.port} make run" in result.stdout


def test_load_test_starts_and_ends_an_exchange_of_its_own(tmp_path: Path) -> None:
    options = ("--rps=50", "--duration=1", f"--output={tmp_path / 'latency.png'}")
    result = manage(exchange_variables(tmp_path / "data"), "load_test", *options)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "starting an exchange for this test" in result.stdout
    assert "all 50 acknowledged orders are in the database" in result.stdout
    found = re.search(r"to http://127\.0\.0\.1:(\d+)", result.stdout)
    assert found is not None
    assert not listens(int(found[1]))


def test_an_exchange_that_is_not_healthy_is_not_passed_over(tmp_path: Path) -> None:
    options = ("--rps=50", "--duration=1", f"--output={tmp_path / 'latency.png'}")
    with RunningExchange() as running, frozen(running.part("run_matching")):
        target = Target("127.0.0.1", running.port)
        wait_until(lambda: health_problem(target), "the worker is missed")
        result = manage(running.environment, "load_test", *options)
    assert result.returncode == 1
    assert f"127.0.0.1:{running.port} is not healthy" in result.stderr


def test_an_exchange_that_does_not_start_is_reported_with_its_log(tmp_path: Path) -> None:
    broken = tmp_path / "manage.py"
    broken.write_text("raise SystemExit('no, I would rather not')")
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(StartError, match="rather not"), own_exchange(broken):
        pass
    assert signal.getsignal(signal.SIGTERM) is handler


@pytest.mark.parametrize(
    "options", [("--url=http://192.0.2.1:8000",), ("--rps=0",), ("--connections=100000",)]
)
def test_what_is_out_of_bounds_is_refused(tmp_path: Path, options: tuple[str, ...]) -> None:
    result = manage(exchange_variables(tmp_path / "data"), "load_test", *options)
    assert result.returncode in (1, 2)
    assert "Traceback" not in result.stderr


def test_processor_time_counts_children() -> None:
    busy = "sum(range(10**7)); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", busy], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdout.readline()
        alone = processor_seconds(child.pid, named="no such process")
        ours = processor_seconds(os.getpid(), named="no such process")
        child.stdin.close()
    assert alone is not None
    assert ours is not None
    assert 0 < alone < ours
