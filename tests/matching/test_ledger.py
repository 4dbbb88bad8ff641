"""The ledger's connections break, and it goes on with new ones."""

import asyncio

import pytest
from django.db import InterfaceError, OperationalError, connection

from matching.ledger import Ledger

pytestmark = pytest.mark.usefixtures("instruments")


def own_session() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        row: tuple[int] = cursor.fetchone()
    return row[0]


def end_sessions_but(kept: int) -> None:
    """What a restart of PostgreSQL does to whoever is connected."""
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid NOT IN (pg_backend_pid(), %s)",
                [kept],
            )
            assert cursor.rowcount >= 1
    finally:
        connection.close()


def test_the_lease_is_renewed_again_after_the_connection_for_that_broke() -> None:
    kept = own_session()

    async def scenario() -> None:
        ledger = Ledger(0)
        try:
            lease = await ledger.acquire("tests")
            assert lease is not None
            await ledger.renew_beside(lease)
            await asyncio.to_thread(end_sessions_but, kept)
            with pytest.raises((OperationalError, InterfaceError)):
                await ledger.renew_beside(lease)
            await ledger.renew_beside(lease)
        finally:
            await ledger.aclose()

    asyncio.run(scenario())
