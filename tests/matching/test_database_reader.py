"""Reads from coroutines: their number and time are limited, and abandoned reads do not begin."""

import asyncio
import threading
import time
from collections.abc import Coroutine
from typing import Any

import pytest
from django.db import connection

from base.database import DatabaseReader
from base.refusals import Unavailable
from tests.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.usefixtures("instruments")


def run_with_reader(scenario: Any, **limits: Any) -> None:
    """Run the scenario with a reader of one thread, and close that thread's connection."""
    reader = DatabaseReader(
        **{
            "threads": 1,
            "places_max": 3,
            "seconds_max": PATIENCE_SECONDS,
            "statement_seconds_max": PATIENCE_SECONDS,
            **limits,
        }
    )

    async def run() -> None:
        try:
            await scenario(reader)
        finally:
            reader._seconds_max = PATIENCE_SECONDS
            await reader(close)

    asyncio.run(run())


def close() -> None:
    connection.close()


def select_one() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        return int(cursor.fetchone()[0])


def start(read: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    return asyncio.get_running_loop().create_task(read)


def test_a_read_returns_its_result() -> None:
    async def scenario(reader: DatabaseReader) -> None:
        assert await reader(select_one) == 1

    run_with_reader(scenario)


def test_a_read_that_finds_no_free_place_is_refused_at_once() -> None:
    async def scenario(reader: DatabaseReader) -> None:
        release = threading.Event()
        reads = [start(reader(release.wait)) for _ in range(3)]
        await asyncio.sleep(0)  # each takes its place
        with pytest.raises(Unavailable, match="Too many"):
            await reader(select_one)
        release.set()
        await asyncio.gather(*reads)
        assert await reader(select_one) == 1

    run_with_reader(scenario)


def test_a_read_that_nobody_waits_for_is_not_begun() -> None:
    async def scenario(reader: DatabaseReader) -> None:
        release, begun = threading.Event(), threading.Event()
        first = start(reader(release.wait))
        await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="in time"):
            await reader(begun.set)
        release.set()
        with pytest.raises(Unavailable):
            await first  # this read itself took too long
        reader._seconds_max = PATIENCE_SECONDS
        assert await reader(select_one) == 1  # The thread is free again.
        assert not begun.is_set()

    run_with_reader(scenario, seconds_max=0.2)


def test_a_statement_that_takes_too_long_is_ended() -> None:
    def sleep() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(30)")

    async def scenario(reader: DatabaseReader) -> None:
        with pytest.raises(Unavailable, match="not answering"):
            await reader(sleep)
        assert await reader(select_one) == 1

    run_with_reader(scenario, statement_seconds_max=2.0)


def test_a_read_after_the_connection_was_lost_makes_a_new_one() -> None:
    def end_own_session() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    async def scenario(reader: DatabaseReader) -> None:
        with pytest.raises(Unavailable):
            await reader(end_own_session)
        assert await reader(select_one) == 1

    run_with_reader(scenario)


def test_the_thread_pauses_after_a_read_in_proportion_to_its_duration() -> None:
    times: list[float] = []

    def slow() -> None:
        times.append(time.monotonic())
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(0.05)")
        times.append(time.monotonic())

    async def scenario(reader: DatabaseReader) -> None:
        await reader(select_one)  # connects
        await asyncio.gather(reader(slow), reader(slow))
        first_began, first_ended, second_began, _ = times
        assert second_began - first_ended >= 2 * (first_ended - first_began)

    run_with_reader(scenario, pause_ratio=3.0)


def test_a_read_that_has_not_begun_in_time_is_not_logged_as_an_outage(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario(reader: DatabaseReader) -> None:
        release = threading.Event()
        reader._threads.submit(release.wait)  # occupies the thread as another read would
        try:
            with pytest.raises(Unavailable, match="in time"):
                await reader(select_one)
        finally:
            release.set()
        assert not [record for record in caplog.records if "no answer" in record.getMessage()]

    run_with_reader(scenario, seconds_max=2.0)
