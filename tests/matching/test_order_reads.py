"""An order that is read while it trades: its fills and its trades are of one moment."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection

from orders.selectors import find_order
from tests.matching.partition import Partition, place

pytestmark = pytest.mark.usefixtures("instruments")


def number(written: Any) -> Decimal:
    return Decimal(bytes(written).decode())


def test_an_order_that_trades_between_two_reads_is_shown_as_it_was_at_the_first() -> None:
    partition = Partition()
    order = place("sell", 100, 9)
    partition.run(order, place("buy", 100, 4))

    further = False

    def trade_once(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        """The first query for trades finds more of them than the order's row counts."""
        nonlocal further
        if "orders_trade" in sql and not further:
            further = True
            partition.run(place("buy", 100, 2))
        return execute(sql, *rest)

    with connection.execute_wrapper(trade_once):
        during = find_order(order.order_id)
    after = find_order(order.order_id)
    assert further
    assert during is not None
    assert after is not None
    assert len(during.trades) == 1
    assert sum(number(fill.quantity) for fill in during.trades) == number(during.filled_quantity)
    assert len(after.trades) == 2
    assert sum(number(fill.quantity) for fill in after.trades) == number(after.filled_quantity)
