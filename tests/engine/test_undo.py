"""Undo: a book that takes back its latest changes has its earlier state, and continues from it."""

from typing import Any, get_args

import pytest
from hypothesis import given, settings

from matching.engine import (
    AmendOrder,
    CancelOrder,
    CommandRejected,
    Event,
    OrderBook,
    OrderKind,
    SelfTradePrevention,
    Side,
    Trade,
)
from tests.engine.flows import MIXES, InstructedFlow, Mix, Step
from tests.engine.orders import (
    Command,
    buy,
    enter_all,
    instructed,
    levels,
    makers,
    market,
    place,
    sell,
    triggered,
    waiting,
)
from tests.engine.reference import ReferenceBook
from tests.engine.strategies import Flow, flows, run_all

STEPS = 500


def steps_of(mix: Mix, *, seed: int, count: int) -> list[Step]:
    """Return the first steps of a flow."""
    reference = ReferenceBook()
    flow = InstructedFlow(mix, seed, reference)
    steps: list[Step] = []
    while len(steps) < count:
        steps.append(flow.next_step())
        steps[-1].apply(reference)
    return steps


def undo_and_repeat(book: OrderBook, step: Step) -> list[Event]:
    """Run a step, take it back, check that nothing is left of it, and run it again."""
    before, last_price_ticks = book.state_hash(), book.last_price_ticks
    events = step.apply(book)
    after = book.state_hash()
    book.undo(events, last_price_ticks)
    assert (book.state_hash(), book.last_price_ticks) == (before, last_price_ticks)
    assert step.apply(book) == events
    assert book.state_hash() == after
    return events


@pytest.mark.parametrize("mix", MIXES, ids=lambda mix: mix.name)
def test_every_step_can_be_undone_and_repeated(mix: Mix) -> None:
    book, same = OrderBook(), OrderBook()
    for step in steps_of(mix, seed=5, count=STEPS):
        assert undo_and_repeat(book, step) == step.apply(same)
    assert book.depth() == same.depth()


def test_every_kind_of_event_is_undone() -> None:
    seen: set[type] = set()
    for mix in MIXES:
        book = OrderBook()
        for step in steps_of(mix, seed=6, count=STEPS // 2):
            seen |= {type(event) for event in undo_and_repeat(book, step)}
    assert seen == set(get_args(Event))


@settings(max_examples=150)
@given(flows, flows)
def test_undo_restores_the_state_before_the_changes(first: Flow, then: Flow) -> None:
    book, same = OrderBook(), OrderBook()
    run_all(book, first)
    run_all(same, first)
    last_price_ticks = book.last_price_ticks
    book.undo(run_all(book, then), last_price_ticks)
    assert (book.state_hash(), book.depth(), len(book)) == (same.state_hash(), same.depth(), len(same))
    assert (book.best_bid, book.best_ask) == (same.best_bid, same.best_ask)
    assert (book.waiting_count, book.last_price_ticks) == (same.waiting_count, last_price_ticks)
    assert run_all(book, then) == run_all(same, then)


def undo(book: OrderBook, command: Command) -> None:
    last_price_ticks = book.last_price_ticks
    events = book.process(command)
    assert not isinstance(events[0], CommandRejected)
    book.undo(events, last_price_ticks)


def change(order_id: str, numbers: dict[str, Any] | None) -> Command:
    """Return an amend to these numbers, or a cancel if there are none."""
    return CancelOrder(order_id, "ann") if numbers is None else AmendOrder(order_id, "ann", **numbers)


@pytest.mark.parametrize("order_id", ["s1", "s2", "s3"])
@pytest.mark.parametrize("numbers", [None, {"price_ticks": 101}, {"quantity_lots": 9}])
def test_undo_restores_the_place_in_the_queue(numbers: dict[str, Any] | None, order_id: str) -> None:
    book = OrderBook()
    place(book, *(sell(one, 100, 4) for one in ("s1", "s2", "s3")))
    undo(book, change(order_id, numbers))
    assert makers(book.process(market("m", Side.BUY, 12))) == ["s1", "s2", "s3"]


@pytest.mark.parametrize("order_id", ["w1", "w2", "w3"])
@pytest.mark.parametrize(
    "numbers", [None, {"trigger_price_ticks": 99}, {"quantity_lots": 9}, {"quantity_lots": 1}]
)
def test_undo_restores_the_place_among_waiting_orders(numbers: dict[str, Any] | None, order_id: str) -> None:
    book = OrderBook()
    place(book, *(waiting(one, Side.BUY, OrderKind.STOP, 100, 2) for one in ("w1", "w2", "w3")))
    undo(book, change(order_id, numbers))
    events = place(book, sell("s1", 100, 9), market("m", Side.BUY, 1))
    assert triggered(events) == ["w1", "w2", "w3"]
    lots = [event.quantity_lots for event in enter_all(book) if isinstance(event, Trade)]
    assert lots == [2, 2, 2]


@pytest.mark.parametrize("order_id", ["w1", "w2", "w3"])
def test_undo_of_a_cancel_restores_the_place_among_triggered_orders(order_id: str) -> None:
    book = OrderBook()
    place(book, *(waiting(one, Side.BUY, OrderKind.STOP, 100, 2) for one in ("w1", "w2", "w3")))
    place(book, sell("s1", 100, 9), market("m", Side.BUY, 1))
    undo(book, CancelOrder(order_id, "ann"))
    takers = [event.taker.order_id for event in enter_all(book) if isinstance(event, Trade)]
    assert takers == ["w1", "w2", "w3"]


def test_undo_of_a_reduction_restores_the_lots() -> None:
    book = OrderBook()
    place(book, sell("s1", 100, 9), sell("s2", 100, 1), market("m", Side.BUY, 2))
    undo(book, AmendOrder("s1", "ann", quantity_lots=3))
    assert levels(book) == ([], [(100, 8)])
    events = book.process(market("n", Side.BUY, 8))
    assert [event.maker for event in events if isinstance(event, Trade)] == [
        sell("s1", 100, 9),
        sell("s2", 100, 1),
    ]


@pytest.mark.parametrize("prevention", SelfTradePrevention)
def test_undo_of_self_trade_prevention_restores_the_makers(prevention: SelfTradePrevention) -> None:
    book = OrderBook()
    place(book, *(sell(one, 100, 4, client_id) for one, client_id in (("s1", "ann"), ("s2", "bob"))))
    place(book, sell("s3", 100, 4))
    undo(book, instructed(buy("b1", 100, 9), prevention=prevention))
    assert makers(book.process(market("m", Side.BUY, 12))) == ["s1", "s2", "s3"]


def test_undo_of_triggers_restores_the_last_price_and_all_waiting_orders() -> None:
    book = OrderBook()
    place(book, sell("s1", 100, 1), market("m", Side.BUY, 1))
    place(book, sell("s2", 101, 1), sell("s3", 102, 9))
    place(book, *(waiting(f"w{price}", Side.BUY, OrderKind.STOP, price, 1) for price in (102, 101)))
    before = book.state_hash()
    events = book.process(market("n", Side.BUY, 2))
    assert triggered(events) == ["w101", "w102"]
    events += enter_all(book)
    book.undo(events, 100)
    assert (book.state_hash(), book.last_price_ticks, book.next_triggered) == (before, 100, None)
    again = book.process(market("n", Side.BUY, 2))
    assert again + enter_all(book) == events


def test_only_the_latest_changes_can_be_undone() -> None:
    book = OrderBook()
    events = [*book.process(sell("s1", 100, 1)), *book.process(sell("s2", 100, 2))]
    with pytest.raises(ValueError, match="latest change is 2"):
        book.undo(events[:1], None)
