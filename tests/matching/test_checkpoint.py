"""Who takes a lease over from an owner that froze in the middle of a commit."""

import psycopg
import pytest
from django.db import connection

from matching import checkpoint

pytestmark = pytest.mark.usefixtures("instruments")

ROUNDS = 30
LEASE_SECONDS = 0.01
STATEMENT_SECONDS_MAX = 5


def test_a_lease_that_runs_out_while_it_is_asked_for_is_taken_over() -> None:
    """Asked for again and again, until it has run out: also between two statements of one call."""
    checkpoint.acquire(0, "nobody")
    parameters = connection.get_connection_params() | {
        "autocommit": False,
        "application_name": "exchange-matching frozen",
    }
    parameters = {
        name: value for name, value in parameters.items() if name not in ("cursor_factory", "context")
    }
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('statement_timeout', %s, false)", [f"{STATEMENT_SECONDS_MAX}s"])
    try:
        for number in range(ROUNDS):
            with psycopg.connect(**parameters) as frozen:
                frozen.execute(
                    "UPDATE matching_checkpoint SET owner = 'frozen',"
                    " lease_expires_at = clock_timestamp() + make_interval(secs => %s)",
                    [LEASE_SECONDS],
                )
                frozen.commit()
                frozen.execute("UPDATE matching_checkpoint SET position = '1-0'")
                while (lease := checkpoint.acquire(0, f"taker {number}")) is None:
                    pass
                with pytest.raises(psycopg.OperationalError):
                    frozen.execute("SELECT")
            assert lease.owner == f"taker {number}"
    finally:
        connection.close()
