"""`manage.py audit` finds what a matching worker should have done: expiries, switches, triggers."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.conf import settings
from django.test import override_settings
from redis import Redis

from base.times import unix_milliseconds
from matching.operations.audit import overdue
from matching.operations.audit.overdue import audit_overdue
from orders.messages import heartbeat_key
from tests.matching.partition import Partition, cancel_after, place, stop

HEARTBEAT_SECONDS = 60
LONG = timedelta(seconds=2 * settings.AUDIT_OVERDUE_SECONDS)
SHORT = timedelta(seconds=settings.AUDIT_OVERDUE_SECONDS / 2)
EXPIRE_SECONDS = 1

pytestmark = pytest.mark.usefixtures("instruments")


@pytest.fixture
def matched(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker's heartbeat, without a worker. The audit does not wait for it to catch up."""
    redis.set(heartbeat_key(0), "tests", ex=HEARTBEAT_SECONDS)
    monkeypatch.setattr(overdue, "CATCH_UP_SECONDS_MAX", 0.0)


def leave_expired_orders(partition: Partition, age: timedelta, count: int = 1) -> None:
    """Place orders that expired `age` ago, without doing what is due since then."""
    now = datetime.now(UTC) - age - timedelta(seconds=EXPIRE_SECONDS)
    due_ms = unix_milliseconds(now) + 1000 * EXPIRE_SECONDS
    partition.run(
        *(place("buy", 100, 5, time_in_force="gtd", expires_at_ms=due_ms) for _ in range(count)), now=now
    )


def leave_triggered_order(partition: Partition, age: timedelta) -> None:
    """Trigger an order that does not enter the book."""
    with override_settings(WORKER_BATCH_TRIGGERED_MAX=0):
        partition.run(
            stop("sell", 90, 5), place("buy", 90, 5), place("sell", 90, 5), now=datetime.now(UTC) - age
        )


def arm_switch(partition: Partition, age: timedelta) -> None:
    partition.run(
        cancel_after("client-A", EXPIRE_SECONDS),
        now=datetime.now(UTC) - age - timedelta(seconds=EXPIRE_SECONDS),
    )


CAUSES: dict[str, Any] = {
    "should have expired at": leave_expired_orders,
    "has not entered the book since its trigger at": leave_triggered_order,
    "should have run out at": arm_switch,
}


@pytest.mark.usefixtures("matched")
@pytest.mark.parametrize("cause", CAUSES)
def test_what_is_overdue_is_found(cause: str) -> None:
    CAUSES[cause](Partition(), LONG)
    result = audit_overdue()
    (breach,) = result.breaches
    assert cause in breach
    assert result.breach_count == 1
    assert not result.skipped


@pytest.mark.usefixtures("matched")
@pytest.mark.parametrize("cause", CAUSES)
def test_what_has_been_due_for_a_short_time_is_no_breach(cause: str) -> None:
    CAUSES[cause](Partition(), SHORT)
    assert audit_overdue().state == "ok"


@pytest.mark.usefixtures("redis")
def test_a_partition_without_a_worker_is_skipped() -> None:
    leave_expired_orders(Partition(), LONG)
    result = audit_overdue()
    assert (result.breaches, result.skipped) == ([], ["partition 0: no worker matches it"])


@pytest.mark.usefixtures("matched")
def test_a_worker_that_catches_up_is_no_breach(monkeypatch: pytest.MonkeyPatch) -> None:
    partition = Partition()
    leave_expired_orders(partition, LONG, count=3)

    def work(seconds: float) -> None:
        with override_settings(WORKER_BATCH_CANCELS_MAX=2):
            partition.run()

    monkeypatch.setattr(time, "sleep", work)
    assert audit_overdue().skipped == ["partition 0: its worker is catching up; 1 are overdue"]
    assert audit_overdue().state == "ok"
