"""Database reads from coroutines: each reader runs Django's ORM on a few threads of its own.

`sync_to_async` would run every read on one shared thread, or start a thread for each request. A
reader also has a limited number of places, and refuses further reads. A read whose caller has
stopped waiting is skipped, but keeps its place until a thread reaches it. While the database server
is frozen, the places therefore fill up and further reads are refused: no queue grows.
"""

import asyncio
import contextlib
import functools
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, Protocol, TypeVar

from django.conf import settings
from django.db import (
    DatabaseError,
    InterfaceError,
    OperationalError,
    ProgrammingError,
    connection,
    transaction,
)
from django.db.migrations.exceptions import InconsistentMigrationHistory

from base.loops import ignore_error
from base.outages import Outage
from base.refusals import Unavailable

logger = logging.getLogger(__name__)

_outage = Outage(logger, "the database can't be read")

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class Reader(Protocol):
    """Runs a selector, a function that reads the database, on a thread. Raises Unavailable."""

    async def __call__(
        self, selector: Callable[Parameters, Result], *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Result: ...


class DatabaseReader:
    """Runs selectors on `threads` threads. At most `places_max` selectors run or wait.

    A read may take `seconds_max`, including its wait for a thread. Each of its statements may take
    `statement_seconds_max`. After each read, no other read begins for `pause_ratio` times the
    duration of that read, so that large results leave processor time to other work.
    """

    def __init__(
        self,
        *,
        threads: int,
        places_max: int,
        seconds_max: float,
        statement_seconds_max: float,
        pause_ratio: float = 0.0,
    ) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="database")
        self._places = threading.BoundedSemaphore(places_max)
        self._seconds_max = seconds_max
        self._statement_milliseconds_max = round(statement_seconds_max * 1000)
        self._pause_ratio = pause_ratio
        self._pause_ends_at = 0.0  # a time of the monotonic clock

    async def __call__(
        self, selector: Callable[Parameters, Result], *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Result:
        """Run a selector on a database thread.

        Raises Unavailable if the database is not answering, or if too many reads are waiting.
        """
        if not self._places.acquire(blocking=False):
            raise Unavailable("Too many requests are waiting for the database. Try again after Retry-After.")
        request = _ReadRequest()
        call = functools.partial(self._read_if_wanted, request, functools.partial(selector, *args, **kwargs))
        reading = asyncio.get_running_loop().run_in_executor(self._threads, call)
        reading.add_done_callback(ignore_error)
        try:
            async with asyncio.timeout(self._seconds_max):
                result = await asyncio.shield(reading)
            _outage.ended()
            return result
        except TimeoutError:
            if request.has_begun:
                _outage.failed(f"no answer within {self._seconds_max:g} s")
            raise Unavailable("The database did not answer in time. Try again after Retry-After.") from None
        except (DatabaseError, InterfaceError) as error:
            if isinstance(error, ProgrammingError):
                _outage.failed(database_advice(error))
            elif isinstance(error, OperationalError | InterfaceError) and not _is_cancelled_statement(error):
                _outage.failed(error)
            raise Unavailable("The database is not answering. Try again after Retry-After.") from error
        finally:
            request.is_wanted = False

    def _read_if_wanted(self, request: "_ReadRequest", call: Callable[[], Result]) -> Result:
        try:
            if request.is_wanted and self._pause_ratio:
                time.sleep(max(0.0, self._pause_ends_at - time.monotonic()))
            if not request.is_wanted:
                raise Unavailable
            request.has_begun = True
            began_at = time.monotonic()
            try:
                return self._read(call)
            finally:
                now = time.monotonic()
                self._pause_ends_at = now + self._pause_ratio * (now - began_at)
        finally:
            self._places.release()

    def _read(self, call: Callable[[], Result]) -> Result:
        """Read on this thread's connection.

        If it broke since its last read, reconnect and read again.
        """
        if connection.connection is None:
            self._connect()
        try:
            return call()
        except (OperationalError, InterfaceError):
            if connection.is_usable():
                raise
            connection.close()
        self._connect()
        return call()

    def _connect(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT set_config('statement_timeout', %s, false)", [str(self._statement_milliseconds_max)]
            )


class _ReadRequest:
    """The state that the caller of a read shares with the thread that runs the read."""

    __slots__ = ("has_begun", "is_wanted")

    def __init__(self) -> None:
        self.is_wanted = True  # False once the caller has stopped waiting.
        self.has_begun = False


@contextlib.contextmanager
def snapshot() -> Iterator[None]:
    """Open a read-only transaction with one snapshot of the database.

    Every statement sees the data as of the first statement.
    """
    with transaction.atomic(durable=True):
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        yield


def _is_cancelled_statement(error: Exception) -> bool:
    """Return whether the server has cancelled the statement (57014 query_canceled).

    That is not an outage: other reads may succeed.
    """
    return getattr(error.__cause__, "sqlstate", None) == "57014"


read_database = DatabaseReader(
    threads=settings.DATABASE_THREADS,
    places_max=settings.DATABASE_READS_MAX,
    seconds_max=settings.DATABASE_READ_SECONDS_MAX,
    statement_seconds_max=settings.DATABASE_STATEMENT_SECONDS_MAX,
)


def database_advice(error: Exception) -> str:
    """Return a message for an operator whose command could not use the database."""
    if isinstance(error, InconsistentMigrationHistory):
        return (
            "the database has data of an earlier, unreleased version, which this version can't use. Set"
            " EXCHANGE_DATA_DIR to another folder, or POSTGRES_URI to another database, or remove the old one."
        )
    first, *_ = str(error).splitlines() or [""]
    return (
        f"the database can't be used: {first.rstrip(' .?')}. Start the exchange, or set its POSTGRES_URI or"
        " EXCHANGE_DATA_DIR. A database outside the exchange's data folder must be migrated first"
        " (manage.py migrate)."
    )
