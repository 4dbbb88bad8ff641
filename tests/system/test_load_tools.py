"""The commands load_test, create_fixtures and load_fixtures with a real exchange.

At least one test runs each command as a process. Other tests call it in their own process, which saves
the start of another one.
"""

import io
import os
import re
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psycopg
import pytest
from django.core.management import CommandError, call_command
from pytest_django.fixtures import Settings

from hosting.embedded.locations import Locations
from loadtools.durability import Acknowledged, check_durability
from loadtools.exchange import StartError, health_problem, own_exchange
from loadtools.processes import processor_seconds
from loadtools.wire import Target
from tests.environment import exchange_variables, free_port
from tests.system.exchange import ROOT, RunningExchange, frozen, manage, wait_until


def count_orders(exchange: RunningExchange) -> int:
    with psycopg.connect(Locations(exchange.data_dir).postgres_uri) as connection:
        row = connection.execute("SELECT count(*) FROM orders_order").fetchone()
    assert row is not None
    return int(row[0])


class Commands:
    """Runs commands in this process, with the settings that an exchange's variables would give."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def aim_at(self, port: int, data_dir: Path | None = None) -> None:
        """Set PORT and, if `data_dir` is given, the database of that EXCHANGE_DATA_DIR."""
        self._settings.ENVIRONMENT = msgspec.structs.replace(self._settings.ENVIRONMENT, port=port)
        if data_dir is not None:
            self._settings.POSTGRES_URI = Locations(data_dir).postgres_uri

    def run(self, *arguments: str) -> tuple[str, str]:
        """Run a command. Return its output, and the text of its CommandError or ''."""
        output = io.StringIO()
        try:
            call_command(*arguments, stdout=output)
        except CommandError as error:
            return output.getvalue(), str(error) or type(error).__name__
        return output.getvalue(), ""


@pytest.fixture
def commands(exchange: RunningExchange, settings: Settings) -> Commands:
    """Commands that are aimed at the module's exchange."""
    aimed = Commands(settings)
    aimed.aim_at(exchange.port, exchange.data_dir)
    return aimed


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


@pytest.mark.long
def test_a_second_load_test_places_new_orders(
    exchange: RunningExchange, commands: Commands, tmp_path: Path
) -> None:
    before = count_orders(exchange)
    for _ in range(2):
        options = ("--rps=50", "--duration=1", "--connections=4", f"--output={tmp_path / 'latency.png'}")
        assert commands.run("load_test", *options)[1] == ""
    assert count_orders(exchange) == before + 100


def test_the_durability_check_finds_an_order_that_is_not_in_the_database(exchange: RunningExchange) -> None:
    lost = uuid.uuid4()
    acknowledged = Acknowledged()
    acknowledged.add(str(lost).encode())
    durability = check_durability(acknowledged, Locations(exchange.data_dir).postgres_uri)
    assert not durability.holds
    assert durability.missing == [lost]
    assert str(lost) in "\n".join(durability.report())


def test_the_durability_check_finds_one_order_for_two_acknowledgements(exchange: RunningExchange) -> None:
    with psycopg.connect(Locations(exchange.data_dir).postgres_uri) as connection:
        row = connection.execute("SELECT order_id FROM orders_order LIMIT 1").fetchone()
    assert row is not None
    acknowledged = Acknowledged()
    acknowledged.add(str(row[0]).encode())
    assert check_durability(acknowledged, Locations(exchange.data_dir).postgres_uri).holds
    acknowledged.add(str(row[0]).encode())
    assert not check_durability(acknowledged, Locations(exchange.data_dir).postgres_uri).holds


@pytest.mark.long
def test_fixtures_are_reproducible_and_sent_only_once(
    exchange: RunningExchange, commands: Commands, tmp_path: Path
) -> None:
    first, second = tmp_path / "the first.jsonl", tmp_path / "the second.jsonl"
    options = ("--orders=300", "--seed=7", "--instrument=BTC-USD:70000.00", "--instrument=ETH-USD:3500.00")
    created = manage(exchange.environment, "create_fixtures", *options, f"--output={first}")
    assert created.returncode == 0, created.stderr
    assert commands.run("create_fixtures", *options, f"--output={second}")[1] == ""
    assert first.read_bytes() == second.read_bytes()
    assert manage(exchange.environment, "create_fixtures", *options).stdout.encode() == first.read_bytes()

    before = count_orders(exchange)
    (command,) = re.findall("Send them with: (.*)", created.stdout)
    without_port = {name: value for name, value in exchange.environment.items() if name != "PORT"}
    sent = subprocess.run(
        ["sh", "-c", command], cwd=ROOT, env=without_port, capture_output=True, text=True, check=False
    )
    assert sent.returncode == 0, sent.stdout + sent.stderr
    assert "300 orders created, 0 were there already, 0 failed" in sent.stdout
    output, error = commands.run("load_fixtures", str(second), "--connections=3")
    assert error == ""
    assert "0 orders created, 300 were there already, 0 failed" in output
    assert count_orders(exchange) == before + 300


def test_no_order_of_a_file_with_an_error_is_sent(
    exchange: RunningExchange, commands: Commands, tmp_path: Path
) -> None:
    path = tmp_path / "orders.jsonl"
    assert commands.run("create_fixtures", "--orders=20", f"--output={path}")[1] == ""
    path.write_text(path.read_text() + '{"side": "sideways"}\n')
    before = count_orders(exchange)
    result = manage(exchange.environment, "load_fixtures", str(path))
    assert result.returncode == 1
    assert "line 21" in result.stderr
    assert "Nothing was sent" in result.stderr
    assert count_orders(exchange) == before


def test_load_fixtures_names_the_port_if_no_exchange_listens(commands: Commands, tmp_path: Path) -> None:
    path = tmp_path / "orders.jsonl"
    assert commands.run("create_fixtures", "--orders=1", f"--output={path}")[1] == ""
    port = free_port()
    commands.aim_at(port)
    output, error = commands.run("load_fixtures", str(path))
    assert output == ""
    assert f"PORT={port} make run" in error


def test_orders_that_the_exchange_refuses_are_reported(commands: Commands, tmp_path: Path) -> None:
    path = tmp_path / "orders.jsonl"
    options = ("--orders=5", "--instrument=NO-SUCH:100.0000", f"--output={path}")
    assert commands.run("create_fixtures", *options)[1] == ""
    output, error = commands.run("load_fixtures", str(path))
    assert "400: 5" in output
    assert "5 orders were not taken" in error


@pytest.mark.long
def test_load_test_says_how_to_switch_the_rate_limit_off(commands: Commands, tmp_path: Path) -> None:
    with RunningExchange(variables={"EXCHANGE_RATE_LIMIT": "1/hour"}) as limited:
        options = ("--rps=200", "--duration=1", f"--output={tmp_path / 'latency.png'}")
        commands.aim_at(limited.port, limited.data_dir)
        output, error = commands.run("load_test", *options)
    assert "the load test failed" in error
    assert "x 429 rate_limited" in output
    assert f"EXCHANGE_RATE_LIMIT=off PORT={limited.port} make run" in output


@pytest.mark.long
def test_load_test_starts_and_ends_an_exchange_of_its_own(tmp_path: Path) -> None:
    options = ("--rps=50", "--duration=1", f"--output={tmp_path / 'latency.png'}")
    result = manage(exchange_variables(tmp_path / "data"), "load_test", *options)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "starting an exchange for this test" in result.stdout
    assert "all 50 acknowledged orders are in the database" in result.stdout
    found = re.search(r"to http://127\.0\.0\.1:(\d+)", result.stdout)
    assert found is not None
    assert not listens(int(found[1]))


def test_load_test_refuses_an_unhealthy_exchange(exchange: RunningExchange, tmp_path: Path) -> None:
    options = ("--rps=50", "--duration=1", f"--output={tmp_path / 'latency.png'}")
    target = Target("127.0.0.1", exchange.port)
    with frozen(exchange.part("run_matching")):
        wait_until(lambda: health_problem(target), "the exchange is unhealthy")
        result = manage(exchange.environment, "load_test", *options)
    assert result.returncode == 1
    assert f"127.0.0.1:{exchange.port} is not healthy" in result.stderr
    wait_until(lambda: health_problem(target) is None, "the exchange is healthy again")


def test_an_exchange_that_does_not_start_is_reported_with_its_log(tmp_path: Path) -> None:
    broken = tmp_path / "manage.py"
    broken.write_text("raise SystemExit('no, I would rather not')")
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(StartError, match="rather not"), own_exchange(broken):
        pass
    assert signal.getsignal(signal.SIGTERM) is handler


@pytest.mark.parametrize(
    ("option", "named"),
    [
        ("--url=http://192.0.2.1:8000", "192.0.2.1"),
        ("--rps=0", "--rps"),
        ("--connections=100000", "--connections"),
    ],
)
def test_options_out_of_bounds_are_refused(commands: Commands, option: str, named: str) -> None:
    output, error = commands.run("load_test", option)
    assert output == ""
    assert named in error


def test_processor_time_includes_child_processes() -> None:
    busy_program = "sum(range(10**7)); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", busy_program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdout.readline()
        of_child = processor_seconds(child.pid, named="no such process")
        with_child = processor_seconds(os.getpid(), named="no such process")
        child.stdin.close()
    assert of_child is not None
    assert with_child is not None
    assert 0 < of_child < with_child
