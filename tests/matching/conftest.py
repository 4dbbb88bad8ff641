"""Fixtures: a database with the default instruments, and a Redis without keys of the exchange."""

import asyncio
import threading
from collections.abc import Iterator

import pytest
from django.apps import apps
from django.conf import settings
from django.db import connection
from django.test import TransactionTestCase
from pytest_django import DjangoDbBlocker
from pytest_django.fixtures import Settings
from redis import Redis

from base.database import DatabaseReader, read_database
from instruments import directory as instruments_module
from instruments.defaults import load_default_instruments
from instruments.directory import TradedInstrument, load_instruments
from matching.operations import inspection
from orders import health, look_ups
from orders.desk import amending, cancelling, mass
from tests.patience import PATIENCE_MILLISECONDS, PATIENCE_SECONDS, TIME_LIMITS

# Tables with foreign keys come before those that the keys refer to.
TABLES = [
    model._meta.db_table
    for app in ("matching", "marketdata", "orders", "instruments")
    for model in reversed(list(apps.get_app_config(app).get_models()))
]
DELETED_BYTES_MAX = 4_000_000
# Readers of the database, with the numbers of their threads.
READERS = {
    read_database: settings.DATABASE_THREADS,
    instruments_module._read_database: 1,
    **dict.fromkeys(look_ups.READERS, settings.DESK_THREADS_PER_READER),
    inspection._read_books: 1,
    health._read_database: 1,
}


@pytest.fixture(scope="session", autouse=True)
def _close_connections(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Close the connections of all threads that read for coroutines.

    The test database can't be dropped while they are open.
    """
    yield
    close_connections(django_db_blocker)


def close_connections(django_db_blocker: DjangoDbBlocker) -> None:
    """Close the connections of the readers' threads. Each thread's next read makes a new one."""

    async def close_all(read: DatabaseReader, threads: int) -> None:
        every_thread = threading.Barrier(threads)

        def close() -> None:
            every_thread.wait()
            connection.close()

        await asyncio.gather(*(read(close) for _ in range(threads)))

    with django_db_blocker.unblock():
        for read, threads in READERS.items():
            asyncio.run(close_all(read, threads))


@pytest.fixture(scope="package", autouse=True)
def _patient_readers(_close_connections: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Let reads for coroutines succeed, however slow the machine is.

    A connection keeps the limit of statements that it was made with.
    """
    with pytest.MonkeyPatch.context() as patch:
        for reader in READERS:
            patch.setattr(reader, "_seconds_max", PATIENCE_SECONDS)
            patch.setattr(reader, "_statement_milliseconds_max", PATIENCE_MILLISECONDS)
        close_connections(django_db_blocker)
        yield
    close_connections(django_db_blocker)


@pytest.fixture(autouse=True)
def _patient_limits(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every step succeed, however slow the machine is. Tests of time limits set their own."""
    for name in TIME_LIMITS:
        setattr(settings, name, PATIENCE_SECONDS)
    for part in (amending, cancelling, mass):
        monkeypatch.setattr(part, "CANCEL_SECONDS_MAX", PATIENCE_SECONDS)


@pytest.fixture(scope="session", autouse=True)
def _empty_few_tables() -> Iterator[None]:
    """Let `transactional_db` empty only the tables of our models after a test.

    Django's `flush` also makes all permissions again, which takes longer than most tests.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", lambda test: empty_tables())
        yield


def truncate_tables() -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {', '.join(TABLES)}")


def empty_tables() -> None:
    """Delete the rows of all models in TABLES. Truncating is faster only for large tables."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT sum(pg_relation_size(name::regclass)) FROM unnest(%s::text[]) AS name", [TABLES]
        )
        if cursor.fetchone()[0] > DELETED_BYTES_MAX:
            truncate_tables()
        else:
            cursor.execute("; ".join(f"DELETE FROM {table}" for table in TABLES))


@pytest.fixture
def instruments(request: pytest.FixtureRequest, transactional_db: None) -> dict[str, TradedInstrument]:
    """Return the default instruments by symbol.

    The database is otherwise empty. Its transactions are really committed.
    """
    if request.node.get_closest_marker("plans"):
        truncate_tables()  # The planner has no row counts of earlier tests, as in a new database.
    load_default_instruments()
    return load_instruments()


@pytest.fixture
def redis() -> Iterator[Redis]:
    with Redis.from_url(settings.REDIS_URL) as client:
        for key in client.scan_iter("exchange:*"):
            client.delete(key)
        yield client
