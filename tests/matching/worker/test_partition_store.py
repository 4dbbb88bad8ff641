"""The store's connections break, and it goes on with new ones."""

import asyncio

import pytest
from django.db import InterfaceError, OperationalError, connection

from matching.worker.partition_store import PartitionStore

pytestmark = pytest.mark.usefixtures("instruments")


def sessions() -> list[int]:
    """The process ids of all that are connected to the database."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pid FROM pg_stat_activity WHERE datname = current_database()")
        return [pid for (pid,) in cursor.fetchall()]


def end_sessions_but(kept: list[int]) -> None:
    """What a restart of PostgreSQL does to whoever is connected."""
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> ALL(%s || pg_backend_pid())",
                [kept],
            )
            assert cursor.rowcount == 2  # the store's
    finally:
        connection.close()


def test_the_lease_is_renewed_again_after_the_connection_for_that_broke() -> None:
    others = sessions()

    async def scenario() -> None:
        store = PartitionStore(0)
        try:
            lease = await store.acquire("tests")
            assert lease is not None
            await store.renew_on_second_connection(lease)
            await asyncio.to_thread(end_sessions_but, others)
            with pytest.raises((OperationalError, InterfaceError)):
                await store.renew_on_second_connection(lease)
            await store.renew_on_second_connection(lease)
        finally:
            await store.aclose()

    asyncio.run(scenario())
