"""An order with its trades: which ones it shows, and what it shows while it trades."""

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from pytest_django.fixtures import Settings

from base.encoding import encode_json
from matching.publish.documents import order_documents
from orders.documents import OrderDocument
from orders.models import Order
from orders.pages import OrderQuery
from orders.selectors import find_order, list_orders
from orders.time_lists import PageBounds
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


SHOWN_MAX = 5


def shown(order_id: str) -> OrderDocument:
    """Return an order, as it is alone and in a list."""
    document = find_order(order_id)
    assert document is not None
    client_id = document.client_id
    listed = list_orders(OrderQuery(client_id=client_id, bounds=PageBounds(limit=1000))).orders
    assert [other for other in listed if other.order_id == order_id] == [document]
    return document


def quantities(document: OrderDocument) -> list[Decimal]:
    return [decimal_of(fill.quantity) for fill in document.trades]


def lots(numbers: Iterable[int]) -> list[Decimal]:
    return [Decimal(number).scaleb(-8) for number in numbers]


@pytest.mark.parametrize("trades", [1, SHOWN_MAX - 1, SHOWN_MAX, SHOWN_MAX + 1, 4 * SHOWN_MAX])
def test_an_order_shows_its_last_trades_oldest_first(settings: Settings, trades: int) -> None:
    settings.ORDER_TRADES_SHOWN_MAX = SHOWN_MAX
    last = range(max(1, trades - SHOWN_MAX + 1), trades + 1)
    makers = [place("sell", 100 + number, number) for number in range(1, trades + 1)]
    partition = Partition()
    partition.run(*makers)
    taker = place("buy", 1_000, sum(range(1, trades + 1)), client_id="taker")
    batch, _ = partition.run(taker)
    document = shown(taker.order_id)
    assert quantities(document) == lots(last)
    assert document.trades_complete is (trades <= SHOWN_MAX)
    assert {fill.liquidity for fill in document.trades} == {"taker"}
    assert order_documents(batch)[taker.order_id] == encode_json(document)  # the worker's reply
    assert shown(makers[0].order_id).trades_complete is True


def test_an_order_that_took_and_then_made_trades_shows_the_last_of_both(settings: Settings) -> None:
    settings.ORDER_TRADES_SHOWN_MAX = SHOWN_MAX
    partition = Partition()
    partition.run(place("sell", 100, 1), place("sell", 100, 2), place("sell", 100, 3))
    order = place("buy", 100, 6 + 4 + 5 + 6 + 1, client_id="both")
    partition.run(order)
    for number in (4, 5):
        partition.run(place("sell", 100, number))
    document = shown(order.order_id)
    assert quantities(document) == lots(range(1, 6))
    assert [fill.liquidity for fill in document.trades] == ["taker"] * 3 + ["maker"] * 2
    assert document.trades_complete is True
    partition.run(place("sell", 100, 6))
    document = shown(order.order_id)
    assert quantities(document) == lots(range(2, 7))
    assert [fill.liquidity for fill in document.trades] == ["taker"] * 2 + ["maker"] * 3
    assert document.trades_complete is False


def test_a_page_counts_only_the_trades_that_it_shows(settings: Settings) -> None:
    settings.ORDER_TRADES_SHOWN_MAX, settings.PAGE_FILLS_MAX = SHOWN_MAX, 2 * SHOWN_MAX
    partition = Partition()
    for _ in range(5):
        partition.run(*(place("sell", 100, 1) for _ in range(9)), place("buy", 100, 9, client_id="taker"))
    pages = []
    bounds = PageBounds(limit=10)
    while True:
        page = list_orders(OrderQuery(client_id="taker", bounds=bounds))
        pages.append([len(order.trades) for order in page.orders])
        if page.after is None:
            break
        bounds = bounds._replace(after=page.after)
    assert pages == [[SHOWN_MAX] * 2, [SHOWN_MAX] * 2, [SHOWN_MAX]]
    assert Order.objects.filter(client_id="taker").count() == 5
