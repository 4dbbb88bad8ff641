"""A database session that looks idempotency keys up and commits batches."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, Self

import psycopg
from django.db import DEFAULT_DB_ALIAS, DataError, IntegrityError, connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg.pq.abc import PGresult

from matching.batch.batch import Batch, Key
from matching.commit import checkpoint, orders
from matching.commit.checkpoint import Lease, LeaseLost
from matching.commit.placement import move_session_to_own_processors
from matching.commit.prepared import PreparedStatement, text_array
from matching.commit.statement import STATEMENTS, CommitResult, read_result, statement_of
from orders.keys import FOUND_BY_KEY


class OrdersMissing(Exception):
    """Resting orders of the books are missing in the database. The books must be loaded again."""


class KeysTaken(Exception):
    """Other orders have idempotency keys of this batch. Nothing of the batch was written."""


FIND_KEYS = PreparedStatement(
    "find_keys",
    f"SELECT found.client_id, found.idempotency_key, found.order_id {FOUND_BY_KEY}",
    *("client_ids", "keys"),
)

# The statements here find rows by a key. A plan that was made when the table was new, or had no
# statistics yet, would scan the whole table instead, and would be kept as the table grows.
# PostgreSQL prefers the shallower of two indexes. Near-zero page costs make it compare the matched
# rows only. PostgreSQL may also plan a statement again for each execution, to suit the number of
# keys. Such planning takes longer than finding the rows, so it is switched off.
_PLAN_BY_INDEX = """
SELECT set_config('enable_seqscan', 'off', false), set_config('enable_hashjoin', 'off', false),
       set_config('enable_mergejoin', 'off', false), set_config('cpu_operator_cost', '0.00001', false),
       set_config('random_page_cost', '0.00001', false), set_config('seq_page_cost', '0.00001', false),
       set_config('plan_cache_mode', 'force_generic_plan', false)
"""


class CommitSession:
    """Commits batches on one of Django's connections.

    The connection is opened by the thread that it belongs to. The methods use psycopg's connection
    inside it, which belongs to no thread. They may be called from any thread, but only by one at a
    time.
    """

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self._connection = connection
        self._prepared: psycopg.Connection[Any] | None = None  # the one with prepared statements

    @classmethod
    def of_this_thread(cls) -> Self:
        """Return a session on this thread's connection, which is opened.

        Raises OperationalError.
        """
        connection.ensure_connection()
        return cls(connections[DEFAULT_DB_ALIAS])

    def forget_plans(self) -> None:
        """Have the statements planned again for the current tables. Call this as tables grow.

        In a small table all indexes cost the same. A plan from that time may look keys up among all
        orders of a client, and is kept as the table grows, until statistics are gathered.
        """
        with self._driver() as driver:
            driver.execute("DISCARD PLANS")

    def find_keys(self, keys: Sequence[Key]) -> dict[Key, str]:
        """Return the ids of the orders that have these idempotency keys already."""
        if not keys:
            return {}
        wanted = {
            "client_ids": text_array(client_id for client_id, _ in keys),
            "keys": text_array(key for _, key in keys),
        }
        with self._driver() as driver:
            found = FIND_KEYS.run(driver, wanted)
        rows = (tuple(_text_at(found, row, column) for column in range(3)) for row in range(found.ntuples))
        return {(client_id, key): order_id for client_id, key, order_id in rows}

    def commit(self, batch: Batch, lease: Lease, position: str) -> tuple[Lease, CommitResult]:
        """Commit a batch and the stream position after it.

        Raises LeaseLost, KeysTaken, OrdersMissing and django.db.Error. After an OperationalError or
        InterfaceError it is not known whether the batch was committed.
        """
        try:
            with self._driver() as driver:
                statement, values = statement_of(batch, lease, position)
                row = statement.run(driver, values)
        except DataError as error:
            if isinstance(error.__cause__, psycopg.errors.DivisionByZero):
                raise self._find_cause(batch, lease) from None
            raise
        except IntegrityError as error:
            cause = error.__cause__
            if isinstance(cause, psycopg.Error) and cause.diag.constraint_name == "order_idempotency_key":
                raise KeysTaken from None
            raise
        return lease._replace(position=position), read_result(row)

    def _find_cause(self, batch: Batch, lease: Lease) -> LeaseLost | OrdersMissing:
        """Return the error that made the statement divide by zero."""
        with self._driver() as driver:
            held = driver.execute(checkpoint.IS_HELD, checkpoint.lease_parameters(lease)).fetchone()
            found = driver.execute(orders.FIND, [list(batch.changes)]).fetchall()
        if not held:
            return LeaseLost(str(lease))
        missing = sorted(batch.changes.keys() - {order_id for (order_id,) in found})
        return OrdersMissing(f"the database does not have the resting orders {missing[:10]}")

    @contextlib.contextmanager
    def _driver(self) -> Iterator[psycopg.Connection[Any]]:
        """Yield psycopg's own connection, with the statements prepared.

        Use this outside a transaction: a rollback would also undo the settings.
        """
        driver: psycopg.Connection[Any] | None = self._connection.connection
        with self._connection.wrap_database_errors:
            if driver is None:
                raise psycopg.InterfaceError("the connection is closed")
            try:
                if driver is not self._prepared:
                    driver.execute("DEALLOCATE ALL")  # an earlier attempt may have failed halfway
                    driver.execute(_PLAN_BY_INDEX)
                    FIND_KEYS.prepare(driver)
                    for statement in STATEMENTS:
                        statement.prepare(driver)
                    move_session_to_own_processors(driver)
                    self._prepared = driver
                yield driver
            except OSError as error:  # Callers would take an OSError for an outage of Redis.
                raise psycopg.OperationalError(str(error)) from error


def _text_at(result: PGresult, row: int, column: int) -> str:
    return (result.get_value(row, column) or b"").decode()
