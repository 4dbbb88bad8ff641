"""The partition store replaces a connection that broke."""

import asyncio

import pytest
from django.db import InterfaceError, OperationalError, connection

from matching.worker.partition_store import PartitionStore
from tests.patience import PATIENCE_MILLISECONDS

pytestmark = pytest.mark.usefixtures("instruments")

# Autovacuum has sessions, too, which come and go.
CLIENTS = "FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'"


def sessions() -> list[int]:
    """Return the process ids of all clients' sessions of the database."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT pid {CLIENTS}")
        return [pid for (pid,) in cursor.fetchall()]


def end_sessions_except(kept: list[int]) -> None:
    """End all sessions except these and this one, as a restart of PostgreSQL does."""
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT pg_terminate_backend(pid, %s) {CLIENTS} AND pid <> ALL(%s || pg_backend_pid())",
                [PATIENCE_MILLISECONDS, kept],
            )
            assert cursor.fetchall() == [(True,)] * 2  # the two connections of the store
    finally:
        connection.close()


def test_the_lease_is_renewed_again_after_its_connection_broke() -> None:
    others = sessions()

    async def scenario() -> None:
        store = PartitionStore(0)
        try:
            lease = await store.acquire("tests")
            assert lease is not None
            await store.renew_on_second_connection(lease)
            await asyncio.to_thread(end_sessions_except, others)
            with pytest.raises((OperationalError, InterfaceError)):
                await store.renew_on_second_connection(lease)
            await store.renew_on_second_connection(lease)
        finally:
            await store.aclose()

    asyncio.run(scenario())
