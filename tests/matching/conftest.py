"""Fixtures: a database with the default instruments, and a Redis without keys of the exchange."""

import asyncio
import threading
from collections.abc import Iterator

import pytest
from django.conf import settings
from django.db import connection
from pytest_django import DjangoDbBlocker
from redis import Redis

from base.database import DatabaseReader, read_database
from instruments import directory as instruments_module
from instruments.defaults import load_default_instruments
from instruments.directory import TradedInstrument, load_instruments
from matching.operations import inspection
from orders import look_ups


@pytest.fixture(scope="session", autouse=True)
def _close_connections(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Close the connections of all threads that read for coroutines.

    The test database can't be dropped while they are open.
    """
    yield

    async def close_all(read: DatabaseReader, threads: int) -> None:
        every_thread = threading.Barrier(threads)

        def close() -> None:
            every_thread.wait()
            connection.close()

        await asyncio.gather(*(read(close) for _ in range(threads)))

    with django_db_blocker.unblock():
        asyncio.run(close_all(read_database, settings.DATABASE_THREADS))
        asyncio.run(close_all(instruments_module._read_database, 1))
        for read in look_ups.READERS:
            asyncio.run(close_all(read, settings.DESK_THREADS_PER_READER))
        asyncio.run(close_all(inspection._read_books, 1))


@pytest.fixture
def instruments(transactional_db: None) -> dict[str, TradedInstrument]:
    """Return the default instruments by symbol.

    The database is otherwise empty. Its transactions are really committed.
    """
    load_default_instruments()
    return load_instruments()


@pytest.fixture
def redis() -> Iterator[Redis]:
    with Redis.from_url(settings.REDIS_URL) as client:
        for key in client.scan_iter("exchange:*"):
            client.delete(key)
        yield client
