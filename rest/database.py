"""Database reads from coroutines: Django's ORM on a few threads of its own.

`sync_to_async` would run every read on one shared thread (or start one per request); here at most
DATABASE_THREADS reads run at a time and at most DATABASE_WAITING_MAX are begun or wait, beyond which a request is
refused. A read that nobody waits for any more keeps its place until its thread is free of it: a server that is
frozen fills the places, and no queue grows behind it.
"""

import asyncio
import functools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, Protocol, TypeVar

from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError, connection

from rest.exceptions import Unavailable

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class Reader(Protocol):
    """Runs a selector off the event loop. Raises Unavailable where the database is not answering."""

    async def __call__(
        self, selector: Callable[Parameters, Result], *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Result: ...


class DatabaseReader:
    """Runs selectors on `threads` threads; `places_max` reads are begun or wait at most."""

    def __init__(self, *, threads: int, places_max: int) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="database")
        self._places = threading.BoundedSemaphore(places_max)

    async def __call__(
        self, selector: Callable[Parameters, Result], *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Result:
        """Run a selector on a database thread.

        Raises Unavailable where the database is not answering or too many reads wait.
        """
        if not self._places.acquire(blocking=False):
            raise Unavailable("Too many requests are waiting for the database. Try again after Retry-After.")
        call = functools.partial(self._run, functools.partial(selector, *args, **kwargs))
        reading = asyncio.get_running_loop().run_in_executor(self._threads, call)
        reading.add_done_callback(_retrieve)
        try:
            async with asyncio.timeout(settings.DATABASE_READ_TIMEOUT_SECONDS):
                return await asyncio.shield(reading)
        except TimeoutError:
            raise Unavailable("The database did not answer in time. Try again after Retry-After.") from None
        except (DatabaseError, InterfaceError) as error:
            raise Unavailable("The database is not answering. Try again after Retry-After.") from error

    def _run(self, call: Callable[[], Result]) -> Result:
        try:
            return _read(call)
        finally:
            self._places.release()


def _retrieve(reading: asyncio.Future[Result]) -> None:
    """What a read raises that nobody waits for any more is nobody's news."""
    if not reading.cancelled():
        reading.exception()


read_database = DatabaseReader(threads=settings.DATABASE_THREADS, places_max=settings.DATABASE_WAITING_MAX)


def _read(call: Callable[[], Result]) -> Result:
    """Read on this thread's connection; on a new one where the old one broke since its last read."""
    if connection.connection is None:
        _connect()
    try:
        return call()
    except (OperationalError, InterfaceError):
        if connection.is_usable():
            raise
        connection.close()
    _connect()
    return call()


def _connect() -> None:
    with connection.cursor() as cursor:
        limit = f"{settings.DATABASE_STATEMENT_TIMEOUT_SECONDS}s"
        cursor.execute("SELECT set_config('statement_timeout', %s, false)", [limit])
