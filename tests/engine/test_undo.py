"""Undo: a book that takes back its latest changes has its earlier state, and continues from it."""

from random import Random

import pytest
from hypothesis import given, settings

from matching.engine import CancelOrder, Event, OrderBook, OrderKind, PlaceOrder, Side
from tests.engine.flows import SHAPES, Shape, flow
from tests.engine.reference import ReferenceBook
from tests.engine.test_properties import Command, flows

COMMANDS = 6_000
UNDONE_MAX = 40  # commands at a time


def run(book: OrderBook, commands: list[Command]) -> list[Event]:
    return [event for command in commands for event in book.process(command)]


def sell(order_id: str, price_ticks: int, quantity_lots: int) -> PlaceOrder:
    return PlaceOrder(order_id, "ann", Side.SELL, OrderKind.LIMIT, price_ticks, quantity_lots)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_undone_commands_can_be_repeated_with_the_same_events(shape: Shape) -> None:
    book, reference, random = OrderBook(), ReferenceBook(), Random(shape.name)
    commands = list(flow(shape, seed=3, commands=COMMANDS))
    while commands:
        some = [commands.pop(0) for _ in range(min(len(commands), random.randint(1, UNDONE_MAX)))]
        before = book.state_hash()
        events = run(book, some)
        book.undo(events)
        assert (book.state_hash(), book.depth()) == (before, reference.depth())
        assert (
            run(book, some) == events == [event for command in some for event in reference.process(command)]
        )
        assert book.state_hash() == reference.state_hash()
        assert len(book) == len(reference)


@settings(max_examples=300, deadline=None)
@given(flows, flows)
def test_undo_restores_the_state_before_the_changes(first: list[Command], then: list[Command]) -> None:
    book, same = OrderBook(), OrderBook()
    run(book, first)
    run(same, first)
    book.undo(run(book, then))
    assert (book.state_hash(), book.depth(), len(book)) == (same.state_hash(), same.depth(), len(same))
    assert (book.best_bid, book.best_ask) == (same.best_bid, same.best_ask)
    assert run(book, then) == run(same, then)


@pytest.mark.parametrize("taken", ["s1", "s2", "s3"])
def test_undo_of_a_cancel_restores_the_place_in_the_queue(taken: str) -> None:
    book = OrderBook()
    run(book, [sell("s1", 100, 1), sell("s2", 100, 2), sell("s3", 100, 4)])
    book.undo(book.process(CancelOrder(taken, "ann")))
    trades = book.process(PlaceOrder("m", "tom", Side.BUY, OrderKind.MARKET, 0, 7))
    assert [trade.maker_order_id for trade in trades] == ["s1", "s2", "s3"]  # type: ignore[union-attr]


def test_only_the_latest_changes_can_be_undone() -> None:
    book = OrderBook()
    events = run(book, [sell("s1", 100, 1), sell("s2", 100, 2)])
    with pytest.raises(ValueError, match="latest change is 2"):
        book.undo(events[:1])
