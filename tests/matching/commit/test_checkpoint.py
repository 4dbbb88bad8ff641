"""The lease of a partition: which owner holds it, when it ends, and how another one takes it over."""

import contextlib
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from django.db import DatabaseError, OperationalError, connection, transaction
from pytest_django.fixtures import Settings

from matching.commit import checkpoint
from matching.models import Checkpoint
from tests.matching.partition import acquire, expire_lease
from tests.patience import PATIENCE_SECONDS
from tests.system.exchange import wait_until

pytestmark = pytest.mark.usefixtures("instruments")

ROUNDS = 30
LEASE_SECONDS = 0.01
GATE = 7  # an advisory lock


@pytest.fixture(autouse=True)
def _long_lease(settings: Settings) -> None:
    """Let no lease run out by itself, unless a test wants that."""
    settings.WORKER_LEASE_SECONDS = PATIENCE_SECONDS


def session_of(owner: str, *, autocommit: bool = False) -> "psycopg.Connection[Any]":
    """Open a session with the name by which `checkpoint` recognises the owner."""
    parameters = {
        name: value
        for name, value in connection.get_connection_params().items()
        if name not in ("cursor_factory", "context")
    }
    parameters |= {"autocommit": autocommit, "application_name": f"exchange-matching {owner}"}
    return psycopg.connect(**parameters)


def test_a_second_owner_waits_for_the_lease() -> None:
    lease = acquire("first")
    assert checkpoint.acquire(0, "second") is None
    expire_lease()
    successor = checkpoint.acquire(0, "second")
    assert successor is not None
    assert successor.epoch == lease.epoch + 1
    assert checkpoint.acquire(0, "first") is None


def test_a_lease_that_is_released_is_free_at_once() -> None:
    checkpoint.release(acquire("first"))
    assert checkpoint.acquire(0, "second") is not None


def test_a_renewed_lease_does_not_run_out() -> None:
    lease = acquire("first")
    expire_lease()
    checkpoint.advance(lease, lease.position)
    assert checkpoint.acquire(0, "second") is None


def test_an_owner_frozen_in_its_commit_is_cut_off(settings: Settings) -> None:
    """Its session holds the checkpoint's row, and would hold it for ever."""
    settings.WORKER_LEASE_SECONDS = 0.05
    writing, thawed = threading.Event(), threading.Event()

    def freeze() -> None:
        try:
            lease = acquire("frozen")
            with transaction.atomic():
                checkpoint.advance(lease, "1-0")
                writing.set()
                thawed.wait()
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as thread:
        frozen = thread.submit(freeze)
        try:
            assert writing.wait(PATIENCE_SECONDS)
            with connection.cursor() as cursor:  # the control: other sessions can't write the row
                cursor.execute("SET lock_timeout = '50ms'")
                with pytest.raises(OperationalError, match="lock timeout"):
                    cursor.execute("UPDATE matching_checkpoint SET epoch = epoch")
                cursor.execute(f"SET lock_timeout = '{PATIENCE_SECONDS:.0f}s'")  # rather than wait for ever
            wait_until(lambda: checkpoint.acquire(0, "second") is not None, "the partition is taken")
        finally:
            thawed.set()
        with pytest.raises(DatabaseError):
            frozen.result()
    assert Checkpoint.objects.get().position == "0-0"


def test_a_lease_that_runs_out_while_another_owner_tries_to_acquire_it_is_taken_over() -> None:
    """The attempts repeat, so that the lease may run out between two statements of one attempt."""
    checkpoint.acquire(0, "nobody")
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('statement_timeout', %s, false)", [f"{PATIENCE_SECONDS:.0f}s"])
    try:
        for number in range(ROUNDS):
            with session_of("frozen") as frozen:
                frozen.execute(
                    "UPDATE matching_checkpoint SET owner = 'frozen',"
                    " lease_expires_at = clock_timestamp() + make_interval(secs => %s)",
                    [LEASE_SECONDS],
                )
                frozen.commit()
                frozen.execute("UPDATE matching_checkpoint SET position = '1-0'")
                ends = time.monotonic() + PATIENCE_SECONDS
                while (lease := checkpoint.acquire(0, f"taker {number}")) is None:
                    assert time.monotonic() < ends
                with pytest.raises(psycopg.OperationalError):
                    frozen.execute("SELECT")
            assert lease.owner == f"taker {number}"
    finally:
        connection.close()


@contextlib.contextmanager
def owner_at_work() -> Iterator[None]:
    """An owner whose lease has run out executes a batch's statement, until the end of the block."""
    held = checkpoint.acquire(0, "busy")
    assert held is not None
    gate = connection.cursor()
    gate.execute("SELECT pg_advisory_lock(%s)", [GATE])
    with session_of("busy", autocommit=True) as busy:

        def hold_row() -> None:
            """Lock the checkpoint's row until the gate opens or the session is ended."""
            with contextlib.suppress(psycopg.OperationalError):
                busy.execute(
                    "WITH advanced AS (UPDATE matching_checkpoint SET lease_expires_at = clock_timestamp()"
                    " RETURNING 1) SELECT pg_advisory_lock(%s) FROM advanced",
                    [GATE],
                )

        checkpoint.release(held)
        working = threading.Thread(target=hold_row)
        working.start()
        try:
            wait_until(lambda: is_at_work(busy.info.backend_pid), "the statement waits at the gate")
            yield
        finally:
            gate.execute("SELECT pg_advisory_unlock(%s)", [GATE])
            working.join(PATIENCE_SECONDS)


def test_an_owner_that_works_on_a_batch_keeps_a_lease_that_ran_out(settings: Settings) -> None:
    settings.WORKER_STATEMENT_SECONDS_MAX = 60.0
    with owner_at_work():
        assert checkpoint.acquire(0, "taker") is None
    assert checkpoint.acquire(0, "taker") is not None


def test_an_owner_that_works_on_a_batch_for_too_long_is_cut_off(settings: Settings) -> None:
    """Its session ends a moment after it was told to. Until then, attempts find the row locked."""
    settings.WORKER_STATEMENT_SECONDS_MAX = 0.0
    with owner_at_work():
        wait_until(lambda: checkpoint.acquire(0, "taker") is not None, "the partition is taken")


def is_at_work(backend_id: int) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT wait_event_type FROM pg_stat_activity WHERE pid = %s", [backend_id])
        return bool(cursor.fetchone() == ("Lock",))


def test_a_lease_from_a_clock_that_was_set_back_is_taken_over() -> None:
    held = checkpoint.acquire(0, "dead")
    with connection.cursor() as cursor:
        assert checkpoint.acquire(0, "taker") is None
        cursor.execute(
            "UPDATE matching_checkpoint SET lease_expires_at = clock_timestamp() + interval '1 hour'"
        )
    taken = checkpoint.acquire(0, "taker")
    assert held is not None
    assert taken is not None
    assert taken.epoch == held.epoch + 1


def test_acquiring_a_lease_does_not_wait_for_its_row() -> None:
    held = checkpoint.acquire(0, "dead")
    assert held is not None
    checkpoint.release(held)
    with session_of("another") as other:
        other.execute("SELECT FROM matching_checkpoint FOR UPDATE")
        assert checkpoint.acquire(0, "taker") is None
        other.rollback()
        assert checkpoint.acquire(0, "taker") is not None
