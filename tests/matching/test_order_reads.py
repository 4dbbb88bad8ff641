"""An order that is read while it trades: its filled quantity and its fills are of one moment."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection

from orders.selectors import find_order
from tests.matching.partition import Partition, place

pytestmark = pytest.mark.usefixtures("instruments")


def decimal_of(written: Any) -> Decimal:
    return Decimal(bytes(written).decode())


def test_an_order_that_trades_between_two_queries_is_shown_as_of_the_first_query() -> None:
    partition = Partition()
    order = place("sell", 100, 9)
    partition.run(order, place("buy", 100, 4))

    has_traded_again = False

    def trade_once(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        """Trade again before the first query for trades.

        The query then finds more trades than are counted in the order's row.
        """
        nonlocal has_traded_again
        if "orders_trade" in sql and not has_traded_again:
            has_traded_again = True
            partition.run(place("buy", 100, 2))
        return execute(sql, *rest)

    with connection.execute_wrapper(trade_once):
        read_meanwhile = find_order(order.order_id)
    read_later = find_order(order.order_id)
    assert has_traded_again
    assert read_meanwhile is not None
    assert read_later is not None
    assert len(read_meanwhile.trades) == 1
    assert sum(decimal_of(fill.quantity) for fill in read_meanwhile.trades) == decimal_of(
        read_meanwhile.filled_quantity
    )
    assert len(read_later.trades) == 2
    assert sum(decimal_of(fill.quantity) for fill in read_later.trades) == decimal_of(
        read_later.filled_quantity
    )
