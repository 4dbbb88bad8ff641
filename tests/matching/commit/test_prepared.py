"""Prepared statements take parameters by name, and raise the same errors as psycopg."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.db import connection
from psycopg import errors

from matching.commit.prepared import PreparedStatement, text_array
from tests.patience import PATIENCE_MILLISECONDS

DIVIDE = PreparedStatement(
    "divide",
    "SELECT %(dividend)s::integer / %(divisor)s::integer, %(text)s::text",
    "divisor",
    "dividend",
    "text",
)


@pytest.fixture
def driver(db: None) -> Iterator["psycopg.Connection[Any]"]:
    """Yield a new connection, on which the statement is prepared."""
    with connection.get_new_connection(connection.get_connection_params()) as driver:
        DIVIDE.prepare(driver)
        yield driver


def test_parameters_are_passed_by_name(driver: "psycopg.Connection[Any]") -> None:
    result = DIVIDE.run(driver, {"dividend": b"12", "divisor": b"4", "text": "é".encode()})
    assert (result.get_value(0, 0), result.get_value(0, 1)) == (b"3", "é".encode())


def test_an_error_has_the_class_of_psycopg_and_leaves_the_connection_usable(
    driver: "psycopg.Connection[Any]",
) -> None:
    with pytest.raises(errors.DivisionByZero):
        DIVIDE.run(driver, {"dividend": b"1", "divisor": b"0", "text": b""})
    with pytest.raises(errors.InvalidTextRepresentation):
        DIVIDE.run(driver, {"dividend": b"one", "divisor": b"1", "text": b""})
    assert DIVIDE.run(driver, {"dividend": b"1", "divisor": b"1", "text": b""}).get_value(0, 0) == b"1"


AWKWARD = [
    "",
    "NULL",
    "null",
    "a",
    '"',
    "\\",
    '\\"',
    "{}",
    "{a,b}",
    ",",
    " a ",
    "é",
    "\U0001f600",
    "\n\t",
    "'",
    "%s",
    "\\x41",
]


def test_an_array_of_strings_arrives_unchanged(driver: "psycopg.Connection[Any]") -> None:
    for values in (AWKWARD, [], *([value] for value in AWKWARD)):
        row = driver.execute("SELECT %s::text[]", [text_array(values).decode()]).fetchone()
        assert row == (values,)


def test_a_statement_can_be_prepared_only_once(driver: "psycopg.Connection[Any]") -> None:
    with pytest.raises(errors.DuplicatePreparedStatement):
        DIVIDE.prepare(driver)


def test_a_statement_of_an_ended_session_raises_an_operational_error(
    driver: "psycopg.Connection[Any]",
) -> None:
    """It raises the error each time it is run."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(%s, %s)", [driver.info.backend_pid, PATIENCE_MILLISECONDS]
        )
        assert cursor.fetchone() == (True,)
    for _ in range(2):
        with pytest.raises(psycopg.OperationalError):
            DIVIDE.run(driver, {"dividend": b"1", "divisor": b"1", "text": b""})
    assert driver.closed
