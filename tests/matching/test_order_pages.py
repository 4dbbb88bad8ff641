"""GET /orders on a large table: a page costs a bounded number of rows, and no order is missed between pages."""

from typing import Any
from uuid import UUID

import pytest
from pytest_django.fixtures import Settings

from orders.models import Order
from orders.selectors import list_orders
from tests.matching.partition import Partition, cancel, place

pytestmark = pytest.mark.usefixtures("instruments")


def pages(limit: int = 3, **filters: Any) -> list[list[str]]:
    """The ids on each page."""
    found: list[list[str]] = []
    before: UUID | None = None
    while True:
        query = {"client_id": None, "instrument_id": None, "status": None, **filters}
        page = list_orders(before=before, limit=limit, **query)
        found.append([order.order_id for order in page.orders])
        if page.after is None:
            return found
        assert before is None or page.after < before
        before = page.after


def newest_first(**filters: Any) -> list[str]:
    return [
        str(key) for key in Order.objects.filter(**filters).order_by("-order_id").values_list("pk", flat=True)
    ]


def flat(found: list[list[str]]) -> list[str]:
    return [order_id for page in found for order_id in page]


def test_a_rare_status_is_found_page_by_page(settings: Settings) -> None:
    partition = Partition()
    orders = [place("buy", 100 + number, 1) for number in range(20)]
    partition.run(*orders)
    partition.run(cancel(orders[1]), cancel(orders[2]), cancel(orders[17]))
    expected = newest_first(status="cancelled")
    assert pages(status="cancelled") == [expected]  # the control: few rows are read to the end
    settings.PAGE_ROWS_SCANNED_MAX = 6
    found = pages(status="cancelled")
    assert flat(found) == expected
    assert [len(page) for page in found] == [1, 0, 1, 1]
    assert flat(pages(status="open")) == newest_first(status="open")


def test_a_rare_instrument_is_found_page_by_page(settings: Settings, instruments: Any) -> None:
    partition = Partition()
    rare = place("buy", 100, 1, instrument="ETH-USD")
    partition.run(rare, *(place("buy", 100 + number, 1) for number in range(20)))
    settings.PAGE_ROWS_SCANNED_MAX = 6
    found = pages(instrument_id=instruments["ETH-USD"].instrument_id)
    assert flat(found) == [rare.order_id]
    assert len(found) > 2


def test_a_clients_resting_orders_need_no_search(settings: Settings) -> None:
    partition = Partition()
    resting = place("buy", 100, 1, client_id="mine")
    partition.run(resting, *(place("buy", 0, 1, client_id="mine") for _ in range(20)))
    settings.PAGE_ROWS_SCANNED_MAX = 6
    assert pages(client_id="mine", status="open") == [[resting.order_id]]


def test_a_page_ends_before_it_holds_too_many_fills(settings: Settings) -> None:
    partition = Partition()
    for _ in range(4):
        partition.run(*(place("sell", 100, 1) for _ in range(3)), place("buy", 100, 3, client_id="taker"))
    takers = newest_first(client_id="taker")
    assert pages(limit=10, client_id="taker") == [takers]
    settings.PAGE_FILLS_MAX = 7
    assert pages(limit=10, client_id="taker") == [takers[:2], takers[2:]]
    settings.PAGE_FILLS_MAX = 1  # one order comes whole, whatever it has
    assert pages(limit=10, client_id="taker") == [[order_id] for order_id in takers]
