"""Operators' commands where there is no database: one line that says what to do, no trace of the program."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.environment import exchange_variables
from tests.system.exchange import ROOT

COMMAND_SECONDS_MAX = 60
NOWHERE = "postgres://nobody:secret-word@127.0.0.1:1/nothing"


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
    finished = subprocess.run(
        [sys.executable, "manage.py", *command],
        cwd=ROOT,
        env={**exchange_variables(tmp_path), "POSTGRES_URI": NOWHERE},
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS_MAX,
        check=False,
    )
    assert finished.returncode == 1
    assert "Traceback" not in finished.stderr
    assert "secret-word" not in finished.stderr
    assert "the database can't be used" in finished.stderr
    assert "Start the exchange" in finished.stderr
