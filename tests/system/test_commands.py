"""Operators' mistakes: a line that says what to do, and no trace of the program."""

from pathlib import Path

import pytest
from daphne.management.commands.runserver import Command as Daphne
from django.core.management import get_commands, load_command_class
from pytest_django.fixtures import Settings

from tests.environment import exchange_variables
from tests.system.exchange import manage

NOWHERE = "postgres://nobody:secret-word@127.0.0.1:1/nothing"


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
