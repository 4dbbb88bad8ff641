"""Each client's count of open orders equals the book's, after any events and after their undo."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matching.engine import Event, OpenOrders, OrderBook, OrderCancelled, OrderRested, Trade
from tests.engine.reference import ReferenceBook
from tests.engine.test_properties import Command, flows


def count(open_orders: OpenOrders, events: list[Event]) -> None:
    """Count events as matching/batch/batch.py does."""
    for event in events:
        if isinstance(event, OrderRested):
            open_orders.add(event.client_id)
        elif isinstance(event, OrderCancelled):
            open_orders.remove(event.client_id)
        elif isinstance(event, Trade) and not event.maker_remaining_lots:
            open_orders.remove(event.maker_client_id)


def recount(book: ReferenceBook) -> dict[str, int]:
    counts: dict[str, int] = {}
    for side in book.orders.values():
        for order in side:
            counts[order.client_id] = counts.get(order.client_id, 0) + 1
    return counts


@settings(max_examples=200, deadline=None)
@given(flows, st.integers(1, 60))
def test_counts_follow_the_book_and_its_undo(commands: list[Command], undone: int) -> None:
    book, open_orders = ReferenceBook(), OpenOrders()
    history: list[tuple[dict[str, int], list[Event]]] = []
    for command in commands:
        before = open_orders.as_dict()
        events = book.process(command, 3)
        count(open_orders, events)
        assert open_orders.as_dict() == recount(book)
        history.append((before, events))
    for before, events in reversed(history[-undone:]):
        open_orders.undo(events)
        assert open_orders.as_dict() == before


def test_removing_an_order_of_a_client_without_orders_raises() -> None:
    open_orders = OpenOrders()
    open_orders.add("ann")
    open_orders.remove("ann")
    assert (open_orders.of("ann"), open_orders.as_dict()) == (0, {})
    with pytest.raises(ValueError, match="ann"):
        open_orders.remove("ann")


def recount_of(book: OrderBook) -> dict[str, int]:
    """Count each client's orders in a book of the engine."""
    return dict(Counter(order.client_id for order in book._orders.values()))
