"""Commands that can't do their work print one line that says what to do, without a traceback."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from daphne.management.commands.runserver import Command as Daphne
from django.conf import settings as django_settings
from django.core.management import CommandError, call_command, get_commands, load_command_class
from pytest_django.fixtures import Settings

from tests.environment import exchange_variables
from tests.patience import PATIENCE_SECONDS
from tests.system.exchange import ROOT, manage

NOWHERE = "postgres://nobody:secret-word@127.0.0.1:1/nothing"
NEVER_MIGRATED = "never_migrated"
# The tables of a version that had no app `instruments`.
EARLIER_HISTORY = """
CREATE TABLE django_migrations (id bigint PRIMARY KEY, app text, name text, applied timestamptz);
INSERT INTO django_migrations VALUES (1, 'orders', '0001_initial', now());
CREATE TABLE matching_checkpoint (partition smallint PRIMARY KEY, position text, epoch bigint, owner text,
  lease_expires_at timestamptz);
"""


@pytest.mark.parametrize("partition", ["-1", "one", "32768"])
def test_an_invalid_partition_is_refused(partition: str) -> None:
    with pytest.raises(CommandError, match=f"'{partition}' is not a whole number from 0 to 32767"):
        call_command("run_matching", f"--partition={partition}")


def test_an_invalid_partition_ends_the_command_with_status_2(tmp_path: Path) -> None:
    finished = manage(exchange_variables(tmp_path), "run_matching", "--partition=-1")
    assert finished.returncode == 2
    assert "'-1' is not a whole number from 0 to 32767" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_runserver_listens_on_port(settings: Settings) -> None:
    command = load_command_class(get_commands()["runserver"], "runserver")
    assert isinstance(command, Daphne)
    assert command.default_port == str(settings.ENVIRONMENT.port)


# A program that runs several commands of `manage.py` one after the other in one process, which
# saves the start of a process for each. After a command it writes END and the command's status.
EACH_COMMAND = """
import json, sys, manage
for command in json.loads(sys.argv[1]):
    sys.argv = ["manage.py", *command]
    try:
        manage.main()
        status = 0
    except SystemExit as end:
        status = end.code
    if isinstance(status, str):  # the interpreter would print the text and end with status 1
        print(status, file=sys.stderr)
        status = 1
    print(f"{END}{status}", file=sys.stderr)
"""
END = "ended with "
DATABASE_COMMANDS = [
    ("changepassword", "admin"),
    ("migrate",),
    ("load_instruments",),
    ("recover",),
    ("audit",),
    ("prune", "--keep-days", "30"),
    ("make_history",),
]


@pytest.fixture(scope="module")
def outputs_without_a_database(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, ...], str]:
    """Each command's output if no database can be reached, with END and the command's status."""
    finished = subprocess.run(
        [sys.executable, "-c", EACH_COMMAND.replace("{END}", END), json.dumps(DATABASE_COMMANDS)],
        cwd=ROOT,
        env={**exchange_variables(tmp_path_factory.mktemp("nothing")), "POSTGRES_URI": NOWHERE},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=True,
    )
    *outputs, rest = re.split(rf"(?<={END}\d)\n", finished.stderr)
    assert rest == ""
    return dict(zip(DATABASE_COMMANDS, outputs, strict=True))


@pytest.mark.parametrize("command", DATABASE_COMMANDS)
def test_a_command_without_a_database_says_what_to_do(
    command: tuple[str, ...], outputs_without_a_database: dict[tuple[str, ...], str]
) -> None:
    output = outputs_without_a_database[command]
    assert output.endswith(f"{END}1")
    assert "Traceback" not in output
    assert "secret-word" not in output
    assert "the database can't be used" in output
    assert "Start the exchange" in output


@pytest.fixture
def empty_database() -> Iterator[str]:
    """The URI of a database without tables, on the server of the tests."""
    uri = urlsplit(django_settings.POSTGRES_URI)
    with psycopg.connect(django_settings.POSTGRES_URI, autocommit=True) as session:
        session.execute(f"DROP DATABASE IF EXISTS {NEVER_MIGRATED}")
        session.execute(f"CREATE DATABASE {NEVER_MIGRATED}")
        yield uri._replace(path=f"/{NEVER_MIGRATED}").geturl()
        session.execute(f"DROP DATABASE {NEVER_MIGRATED} WITH (FORCE)")


@pytest.mark.parametrize(
    "command", ["migrate", *(pytest.param(one, marks=pytest.mark.long) for one in ("serve", "run_matching"))]
)
def test_data_of_an_earlier_version_is_reported_in_one_line(
    command: str, empty_database: str, tmp_path: Path
) -> None:
    with psycopg.connect(empty_database) as session:
        session.execute(EARLIER_HISTORY)
    servers = {"POSTGRES_URI": empty_database}
    if command != "serve":  # `serve` starts a Redis of its own.
        servers["REDIS_URL"] = django_settings.REDIS_URL
    finished = manage({**exchange_variables(tmp_path), **servers}, command)
    assert finished.returncode == 1
    lines = [line for line in finished.stderr.splitlines() if " INFO " not in line]
    (line,) = [line for line in lines if "root is given up" not in line]
    assert "the database has data of an earlier, unreleased version" in line
    assert "Set EXCHANGE_DATA_DIR to another folder" in line


@pytest.mark.parametrize("arguments", [(), ("--instruments", "BTC-USD")], ids=["partition", "instruments"])
def test_a_worker_before_the_first_migration_prints_one_line(
    arguments: tuple[str, ...], empty_database: str, tmp_path: Path
) -> None:
    servers = {"POSTGRES_URI": empty_database, "REDIS_URL": django_settings.REDIS_URL}
    finished = manage({**exchange_variables(tmp_path), **servers}, "run_matching", *arguments)
    assert finished.returncode == 1
    lines = [line for line in finished.stderr.splitlines() if " INFO " not in line]
    (line,) = [line for line in lines if "root is given up" not in line]
    assert "the database can't be used: relation" in line
    assert "must be migrated first (manage.py migrate)" in line
