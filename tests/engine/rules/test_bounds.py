"""Bounds of trades and levels, and the numbers of changes: the rules B and N."""

import pytest

from matching.engine import (
    AmendOrder,
    CancelOrder,
    CancelReason,
    OrderCancelled,
    OrderEntered,
    PlaceOrder,
    RemainderCancelled,
    SelfTradePrevention,
    Side,
    TimeInForce,
    Trade,
)
from tests.engine.orders import Book, buy, instructed, levels, makers, market, place, sell, triggered, waiting
from tests.engine.rules.examples import (
    CANCEL_MAKER,
    DECREMENT,
    FOK,
    GTC,
    IOC,
    STOP,
    STOP_LIMIT,
    ending,
    trade_at,
)

# --- bounds ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prevention", SelfTradePrevention)
def test_b1_an_order_makes_a_bounded_number_of_trades(book: Book, prevention: SelfTradePrevention) -> None:
    place(book, *(sell(name, 100, 1, "bob") for name in ("s1", "s2", "s3")))
    events = book.process(instructed(buy("b1", 100, 3), prevention=prevention), 2)
    assert makers(events) == ["s1", "s2"]
    assert ending(events) == (1, CancelReason.TOO_MANY_TRADES)
    events = book.process(buy("b2", 100, 3), 1)
    assert (makers(events), levels(book)) == (["s3"], ([(100, 2)], []))  # it would not trade again


def test_b2_a_fok_order_that_needs_more_trades_is_cancelled(book: Book) -> None:
    place(book, *(sell(name, 100, 1, "bob") for name in ("s1", "s2", "s3")))
    before = book.state_hash()
    events = book.process(instructed(buy("b1", 100, 3), FOK), 2)
    assert (len(events), ending(events)) == (1, (3, CancelReason.UNFILLED_FOK))
    assert book.state_hash() == before
    assert makers(book.process(instructed(buy("b2", 100, 2), FOK), 2)) == ["s1", "s2"]


@pytest.mark.parametrize("time_in_force", [GTC, FOK])
def test_b3_prevented_matches_do_not_count(book: Book, time_in_force: TimeInForce) -> None:
    place(book, sell("s1", 100, 1), sell("s2", 100, 1), sell("s3", 100, 1, "bob"))
    events = book.process(instructed(buy("b1", 100, 1), time_in_force, prevention=CANCEL_MAKER), 1)
    assert [type(event) for event in events] == [OrderCancelled, OrderCancelled, Trade]


def test_b4_the_bound_holds_for_each_entry(book: Book) -> None:
    place(book, waiting("w1", Side.BUY, STOP, 100, 2), buy("b1", 90, 2))
    place(book, *(sell(f"s{number}", 100, 1, "bob") for number in range(5)))
    assert triggered(book.process(market("m", Side.BUY, 1), 1)) == ["w1"]
    events = book.enter_triggered(1)
    assert (makers(events), ending(events)) == (["s1"], (1, CancelReason.TOO_MANY_TRADES))
    events = book.process(AmendOrder("b1", "ann", price_ticks=100), 1)
    assert (makers(events), ending(events)) == (["s2"], (1, CancelReason.TOO_MANY_TRADES))


@pytest.mark.parametrize("reason", [CancelReason.TOO_MANY_ORDERS, CancelReason.TOO_MANY_LEVELS])
def test_b7_a_triggered_order_that_may_not_rest_does_not_trade(book: Book, reason: CancelReason) -> None:
    order = waiting("w1", Side.BUY, STOP_LIMIT, 100, 5, price_ticks=100)
    place(book, order, sell("s1", 100, 9, "bob"), market("m", Side.BUY, 1))
    before = book.sequence
    assert book.enter_triggered(refusal=reason) == [OrderEntered(order), RemainderCancelled(order, 5, reason)]
    assert (book.sequence, levels(book)) == (before, ([], [(100, 8)]))
    assert not book.contains("w1")


# --- sequence -------------------------------------------------------------------------------------------


def changes(book: Book, *commands: PlaceOrder | CancelOrder | AmendOrder) -> int:
    """Return by how much the commands let the sequence grow."""
    before = book.sequence
    place(book, *commands)
    return book.sequence - before


def test_n1_a_trade_is_one_change(book: Book) -> None:
    place(book, sell("s1", 100, 1), sell("s2", 100, 1))
    assert changes(book, market("m", Side.BUY, 2)) == 2


def test_n2_an_order_that_rests_is_one_change(book: Book) -> None:
    assert changes(book, buy("b1", 99, 1)) == 1
    assert changes(book, sell("s1", 99, 2)) == 2


def test_n3_an_order_that_is_taken_off_is_one_change(book: Book) -> None:
    place(book, buy("b1", 99, 1), sell("s1", 100, 1), sell("s2", 100, 1))
    assert changes(book, CancelOrder("b1", "ann")) == 1
    assert changes(book, instructed(buy("b2", 100, 1), IOC, prevention=CANCEL_MAKER)) == 2


def test_n4_a_reduction_in_place_is_one_change(book: Book) -> None:
    place(book, buy("b1", 99, 5))
    assert changes(book, AmendOrder("b1", "ann", quantity_lots=3)) == 1
    assert changes(book, instructed(sell("s1", 99, 1), prevention=DECREMENT)) == 1


def test_n5_each_change_of_a_waiting_order_is_one_change(book: Book) -> None:
    stops = [waiting(name, Side.BUY, STOP, 105, 5) for name in "AB"]
    assert changes(book, *stops) == 2
    assert changes(book, AmendOrder("A", "ann", trigger_price_ticks=104)) == 1
    assert changes(book, CancelOrder("B", "ann")) == 1
    place(book, sell("s1", 104, 1))
    assert changes(book, market("m", Side.BUY, 1)) == 2  # the trade, and A is triggered


def test_n6_an_amend_that_enters_again_is_a_removal_and_what_it_does(book: Book) -> None:
    place(book, buy("b1", 99, 5), sell("s1", 101, 1))
    assert changes(book, AmendOrder("b1", "ann", price_ticks=98)) == 2
    assert changes(book, AmendOrder("b1", "ann", price_ticks=101)) == 3


def test_n7_nothing_else_is_a_change(book: Book) -> None:
    place(book, waiting("w1", Side.BUY, STOP, 105, 5), buy("b1", 99, 5))
    assert changes(book, market("m1", Side.BUY, 1), CancelOrder("x", "ann")) == 0
    assert changes(book, AmendOrder("b1", "ann", quantity_lots=5)) == 0
    trade_at(book, 105)
    before = book.sequence
    assert ending(book.enter_triggered()) == (5, CancelReason.NO_LIQUIDITY)
    assert book.sequence == before
