"""Live orders in a large table: counting and loading them reads few others."""

from typing import Any

import pytest
from django.db import connection

from matching.recovery import _LIVE_SQL
from orders.selectors import _LIVE_ORDERS_SQL, LiveOrders, count_live_orders
from tests.matching.test_order_pages import count_rows_of, insert_orders, rows_of_plan

pytestmark = pytest.mark.plans

COUNT_MAX = 100
WAITING = 20
TYPES = {"instruments": "bigint[]", "count_max": "bigint"}


@pytest.fixture
def instrument_id(instruments: Any) -> int:
    """An instrument with many finished orders, many resting ones, and few that wait."""
    found: int = instruments["BTC-USD"].instrument_id
    for status, count in (("cancelled", 20_000), ("open", 5_000), ("pending", WAITING)):
        insert_orders(count, client_id="alice", instrument_id=found, status=status)
    return found


@pytest.mark.parametrize("mode", ["force_generic_plan", "force_custom_plan"])
def test_counting_reads_only_what_is_counted(instrument_id: int, mode: str) -> None:
    assert count_live_orders([instrument_id], count_max=COUNT_MAX) == {
        instrument_id: LiveOrders(resting=COUNT_MAX, waiting=WAITING)
    }
    values = {"instruments": [instrument_id], "count_max": COUNT_MAX}
    assert count_rows_of(_LIVE_ORDERS_SQL, values, TYPES, "orders_order", mode) <= COUNT_MAX + WAITING


def test_loading_the_waiting_orders_reads_no_others(instrument_id: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE orders_order")  # otherwise the statistics are those of earlier tests
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {_LIVE_SQL}", [["pending"], [instrument_id]])
        assert rows_of_plan(cursor.fetchall(), "orders_order") == WAITING
