"""ClientOrders has the orders of each client in the book, after any events and after their undo."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matching.engine import ClientOrders, Event, OrderBook, OrderKind, Side
from matching.engine.client_orders import OrdersByClient
from tests.engine.comparison import IdsByClient, orders_by_client, recount
from tests.engine.orders import buy, market, sell, waiting
from tests.engine.reference import ReferenceBook
from tests.engine.strategies import Flow, flows, run


def apply_all(orders: ClientOrders, events: list[Event]) -> None:
    for event in events:
        orders.apply(event)


@settings(max_examples=150)
@given(flows, st.integers(1, 50))
def test_orders_follow_the_book_and_its_undo(flow: Flow, undone: int) -> None:
    book, orders = ReferenceBook(), ClientOrders()
    history: list[tuple[tuple[IdsByClient, IdsByClient], list[Event]]] = []
    for command, trades_max in flow:
        before = orders_by_client(orders)
        events = [event for some in run(book, command, trades_max) for event in some]
        apply_all(orders, events)
        assert orders_by_client(orders) == recount(book)
        history.append((before, events))
    for before, events in reversed(history[-undone:]):
        orders.undo(events)
        assert orders_by_client(orders) == before


def test_a_triggered_order_waits_until_it_enters() -> None:
    book, orders = OrderBook(), ClientOrders()
    commands = [
        buy("b1", 90, 1),
        sell("s1", 100, 1, "bob"),
        waiting("w1", Side.BUY, OrderKind.STOP_LIMIT, 100, 1, price_ticks=95),
        waiting("w2", Side.BUY, OrderKind.STOP, 110, 1),
        market("m", Side.BUY, 1),
    ]
    for command in commands:
        apply_all(orders, book.process(command))
    assert (orders.resting.count("ann"), orders.waiting.count("ann")) == (1, 2)
    assert orders.of("ann") == ["b1", "w1", "w2"]
    assert orders.of("bob") == []
    apply_all(orders, book.enter_triggered())
    assert (orders.resting.count("ann"), orders.waiting.count("ann")) == (2, 1)
    assert orders.of("ann") == ["b1", "w1", "w2"]


def test_clients_without_orders_are_not_stored() -> None:
    orders = OrdersByClient()
    orders.add("ann", "b1")
    assert (orders.count("ann"), orders.of("ann"), dict(orders)) == (1, ["b1"], {"ann": {"b1"}})
    orders.remove("ann", "b1")
    assert (orders.count("ann"), orders.of("ann"), dict(orders)) == (0, [], {})
    with pytest.raises(KeyError):
        orders.remove("ann", "b1")
