"""Operators' mistakes: a line that says what to do, and no trace of the program."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from daphne.management.commands.runserver import Command as Daphne
from django.conf import settings as django_settings
from django.core.management import get_commands, load_command_class
from pytest_django.fixtures import Settings

from tests.environment import exchange_variables
from tests.system.exchange import manage

NOWHERE = "postgres://nobody:secret-word@127.0.0.1:1/nothing"
NEVER_MIGRATED = "never_migrated"


@pytest.mark.parametrize("partition", ["-1", "one", "32768"])
def test_a_partition_that_cannot_be_is_refused(partition: str, tmp_path: Path) -> None:
    finished = manage(exchange_variables(tmp_path), "run_matching", f"--partition={partition}")
    assert finished.returncode == 2
    assert f"'{partition}' is not a whole number from 0 to 32767" in finished.stderr


def test_runserver_listens_on_port(settings: Settings) -> None:
    command = load_command_class(get_commands()["runserver"], "runserver")
    assert isinstance(command, Daphne)
    assert command.default_port == str(settings.ENVIRONMENT.port)


@pytest.mark.parametrize(
    "command",
    [
        ("changepassword", "admin"),
        ("migrate",),
        ("load_instruments",),
        ("recover",),
        ("audit",),
        ("prune", "--keep-days", "30"),
    ],
)
def test_without_a_database_a_command_says_what_to_do(command: tuple[str, ...], tmp_path: Path) -> None:
    finished = manage({**exchange_variables(tmp_path), "POSTGRES_URI": NOWHERE}, *command)
    assert finished.returncode == 1
    assert "Traceback" not in finished.stderr
    assert "secret-word" not in finished.stderr
    assert "the database can't be used" in finished.stderr
    assert "Start the exchange" in finished.stderr


@pytest.fixture
def empty_database() -> Iterator[str]:
    """The URI of a database without a table, on the tests' server."""
    uri = urlsplit(django_settings.POSTGRES_URI)
    with psycopg.connect(django_settings.POSTGRES_URI, autocommit=True) as session:
        session.execute(f"DROP DATABASE IF EXISTS {NEVER_MIGRATED}")
        session.execute(f"CREATE DATABASE {NEVER_MIGRATED}")
        yield uri._replace(path=f"/{NEVER_MIGRATED}").geturl()
        session.execute(f"DROP DATABASE {NEVER_MIGRATED} WITH (FORCE)")


@pytest.mark.parametrize("arguments", [(), ("--instruments", "BTC-USD")], ids=["partition", "instruments"])
def test_a_worker_before_the_first_migration_says_one_line(
    arguments: tuple[str, ...], empty_database: str, tmp_path: Path
) -> None:
    servers = {"POSTGRES_URI": empty_database, "REDIS_URL": django_settings.REDIS_URL}
    finished = manage({**exchange_variables(tmp_path), **servers}, "run_matching", *arguments)
    assert finished.returncode == 1
    lines = [line for line in finished.stderr.splitlines() if " INFO " not in line]
    (line,) = [line for line in lines if "root is given up" not in line]
    assert "the database can't be used: relation" in line
    assert "must be migrated (manage.py migrate)" in line
