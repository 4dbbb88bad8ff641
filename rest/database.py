"""Database reads from coroutines: Django's ORM on a few threads of its own.

`sync_to_async` would run every read on one shared thread (or start one per request); here at most
DATABASE_THREADS reads run at a time and at most DATABASE_WAITING_MAX wait, beyond which a request is refused.
"""

import asyncio
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError, connection

from rest.exceptions import Unavailable

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

_waiting = 0


@functools.cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(settings.DATABASE_THREADS, thread_name_prefix="database")


async def read_database(
    selector: Callable[Parameters, Result], *args: Parameters.args, **kwargs: Parameters.kwargs
) -> Result:
    """Run a selector on a database thread.

    Raises Unavailable where the database is not answering or too many reads wait.
    """
    global _waiting  # noqa: PLW0603 - a count of this process, touched on the event loop only
    if _waiting >= settings.DATABASE_WAITING_MAX:
        raise Unavailable("Too many requests are waiting for the database. Try again after Retry-After.")
    call = functools.partial(_run, functools.partial(selector, *args, **kwargs))
    _waiting += 1
    try:
        async with asyncio.timeout(settings.DATABASE_READ_TIMEOUT_SECONDS):
            return await asyncio.get_running_loop().run_in_executor(_threads(), call)
    except TimeoutError:
        raise Unavailable("The database did not answer in time. Try again after Retry-After.") from None
    except (DatabaseError, InterfaceError) as error:
        raise Unavailable("The database is not answering. Try again after Retry-After.") from error
    finally:
        _waiting -= 1


def _run(call: Callable[[], Result]) -> Result:
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
