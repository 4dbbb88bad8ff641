"""What goes wrong with a prepared statement is told as psycopg tells it."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.db import connection
from psycopg import errors

from matching.commit.prepared import PreparedStatement, text_array

DIVIDE = PreparedStatement(
    "divide",
    "SELECT %(dividend)s::integer / %(divisor)s::integer, %(text)s::text",
    "divisor",
    "dividend",
    "text",
)


@pytest.fixture
def driver(db: None) -> Iterator["psycopg.Connection[Any]"]:
    """A session of its own."""
    with connection.get_new_connection(connection.get_connection_params()) as driver:
        DIVIDE.prepare(driver)
        yield driver


def test_parameters_go_by_name(driver: "psycopg.Connection[Any]") -> None:
    result = DIVIDE.run(driver, {"dividend": b"12", "divisor": b"4", "text": "é".encode()})
    assert (result.get_value(0, 0), result.get_value(0, 1)) == (b"3", "é".encode())


def test_an_error_is_of_its_class_and_the_connection_is_of_use(driver: "psycopg.Connection[Any]") -> None:
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


def test_an_array_of_strings_arrives_as_it_is(driver: "psycopg.Connection[Any]") -> None:
    for values in (AWKWARD, [], *([value] for value in AWKWARD)):
        row = driver.execute("SELECT %s::text[]", [text_array(values).decode()]).fetchone()
        assert row == (values,)


def test_a_statement_can_be_prepared_once(driver: "psycopg.Connection[Any]") -> None:
    with pytest.raises(errors.DuplicatePreparedStatement):
        DIVIDE.prepare(driver)


def test_a_session_that_is_ended_is_an_outage(driver: "psycopg.Connection[Any]") -> None:
    """However often it is asked."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [driver.info.backend_pid])
    for _ in range(2):
        with pytest.raises(psycopg.OperationalError):
            DIVIDE.run(driver, {"dividend": b"1", "divisor": b"1", "text": b""})
    assert driver.closed
