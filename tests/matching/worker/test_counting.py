"""The worker's metrics of instruments: what it counts of each batch, and its gauges."""

from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import REGISTRY

from base.times import unix_milliseconds
from matching.worker.counting import BatchCounter
from tests.matching.partition import Partition, cancel, place, stop

pytestmark = pytest.mark.usefixtures("instruments")

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
PARTITION = 7  # of no other test, because metrics are never reset
COUNTERS = ("accepted", "rejected", "cancelled", "expired", "triggered")


def value(name: str) -> float | None:
    return REGISTRY.get_sample_value(name, {"partition": str(PARTITION), "instrument": "BTC-USD"})


def test_expiries_and_triggers_are_counted_apart_from_cancels() -> None:
    partition, counter = Partition(), BatchCounter(PARTITION)
    due_ms = unix_milliseconds(NOW) + 1_000
    gone = place("buy", 80, 1)
    placed, _ = partition.run(
        *(place("buy", 70, 1, time_in_force="gtd", expires_at_ms=due_ms) for _ in range(3)),
        place("buy", 90, 1),
        gone,
        cancel(gone),
        *(stop("sell", 90, 1, 100) for _ in range(2)),
        stop("buy", 200, 1),
        now=NOW,
    )
    counter.count(placed)
    changed, _ = partition.run(place("sell", 90, 1), now=NOW + timedelta(seconds=2))
    counter.count(changed)
    counter.report_state(partition.state)
    counts = {name: value(f"exchange_orders_{name}_total") for name in COUNTERS}
    assert counts == {"accepted": 9, "rejected": 0, "cancelled": 1, "expired": 3, "triggered": 2}
    assert value("exchange_resting_orders") == 2
    assert value("exchange_waiting_orders") == 1
