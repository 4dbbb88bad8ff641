"""Orders that wait for a price: the rules T."""

import pytest

from matching.engine import (
    CancelOrder,
    CancelReason,
    OrderEntered,
    OrderKind,
    OrderRested,
    OrderTriggered,
    OrderWaits,
    RejectReason,
    Side,
    TimeInForce,
    WaitingCancelled,
)
from tests.engine.orders import (
    Book,
    buy,
    changed,
    enter_all,
    instructed,
    makers,
    market,
    place,
    refused,
    sell,
    triggered,
    waiting,
)
from tests.engine.rules.examples import (
    CANCEL_TAKER,
    FOK,
    IOC,
    STOP,
    STOP_LIMIT,
    TAKE_PROFIT,
    TAKE_PROFIT_LIMIT,
    ending,
    entered,
    fills,
    trade_at,
)

# --- triggers -------------------------------------------------------------------------------------------


def test_t1_a_pending_order_is_not_in_the_book(book: Book) -> None:
    order = waiting("w1", Side.SELL, STOP_LIMIT, 105, 5, price_ticks=90)
    assert place(book, order) == [OrderWaits(1, order)]
    assert (book.best_ask, len(book), book.waiting_count, book.contains("w1")) == (None, 0, 1, True)
    assert ending(place(book, market("m", Side.BUY, 1))) == (1, CancelReason.NO_LIQUIDITY)


@pytest.mark.parametrize(
    ("kind", "side", "met", "waits"),
    [
        (STOP, Side.BUY, 105, 106),
        (STOP_LIMIT, Side.SELL, 105, 104),
        (TAKE_PROFIT, Side.BUY, 105, 104),
        (TAKE_PROFIT_LIMIT, Side.SELL, 105, 106),
    ],
)
def test_t2_an_order_whose_trigger_is_met_on_entry_is_rejected(
    book: Book, kind: OrderKind, side: Side, met: int, waits: int
) -> None:
    trade_at(book, 105)
    price_ticks = 100 if kind in (STOP_LIMIT, TAKE_PROFIT_LIMIT) else 0
    order = waiting("w1", side, kind, met, 1, price_ticks=price_ticks)
    before = book.state_hash()
    assert place(book, order) == refused(order, RejectReason.WOULD_TRIGGER)
    assert book.state_hash() == before
    order = changed(order, trigger_price_ticks=waits)
    assert place(book, order) == [OrderWaits(3, order)]


def test_t3_only_trades_trigger(book: Book) -> None:
    place(book, waiting("w1", Side.BUY, STOP, 105, 1))
    assert triggered(place(book, sell("s1", 106, 1))) == []
    assert triggered(place(book, CancelOrder("s1", "ann"))) == []
    assert triggered(place(book, buy("b1", 107, 1))) == []
    assert book.next_triggered is None


def test_t4_a_triggered_order_enters_after_the_command(book: Book) -> None:
    order = waiting("w1", Side.BUY, STOP, 100, 1, client_id="bob")
    place(book, order, sell("s1", 100, 1), sell("s2", 101, 1))
    events = place(book, market("m", Side.BUY, 2))
    assert (makers(events), events[-1]) == (["s1", "s2"], OrderTriggered(6, order))
    assert ending(book.enter_triggered()) == (1, CancelReason.NO_LIQUIDITY)


def test_t5_triggered_orders_follow_the_trades_that_met_them(book: Book) -> None:
    place(book, *(waiting(f"w{price}", Side.BUY, STOP, price, 1) for price in (101, 100)))
    place(book, sell("s1", 100, 1), sell("s2", 101, 1))
    assert triggered(place(book, market("m", Side.BUY, 2))) == ["w100", "w101"]
    place(book, *(waiting(f"v{price}", Side.SELL, STOP, price, 1) for price in (99, 100)))
    place(book, buy("b1", 100, 1), buy("b2", 99, 1))
    assert triggered(place(book, market("n", Side.SELL, 2))) == ["v100", "v99"]


def test_t6_one_trade_triggers_upward_and_then_downward(book: Book) -> None:
    place(book, *(waiting(f"sell{price}", Side.SELL, STOP, price, 1) for price in (100, 101)))
    place(book, *(waiting(f"buy{price}", Side.BUY, STOP, price, 1) for price in (99, 98)))
    place(book, waiting("profit97", Side.SELL, TAKE_PROFIT, 97, 1))
    place(book, waiting("profit102", Side.BUY, TAKE_PROFIT, 102, 1))
    expected = ["profit97", "buy98", "buy99", "profit102", "sell101", "sell100"]
    assert triggered(trade_at(book, 100)) == expected
    assert entered(enter_all(book)) == expected


@pytest.mark.parametrize("side", Side)
def test_t7_at_one_trigger_price_the_earlier_order_comes_first(book: Book, side: Side) -> None:
    names = ["ann", "bob", "cid"]
    place(book, *(waiting(name, side, STOP, 100, 1, client_id=name) for name in names))
    assert triggered(trade_at(book, 100)) == names


def test_t7_orders_of_both_kinds_at_one_trigger_price_share_their_queue(book: Book) -> None:
    place(book, waiting("w1", Side.BUY, STOP, 100, 1), waiting("w2", Side.SELL, TAKE_PROFIT, 100, 1))
    place(book, waiting("w3", Side.BUY, STOP_LIMIT, 100, 1, price_ticks=1))
    assert triggered(trade_at(book, 100)) == ["w1", "w2", "w3"]


def test_t8_what_triggered_orders_trigger_comes_after_them(book: Book) -> None:
    place(book, *(waiting(name, Side.BUY, STOP, 100, 1) for name in "AB"))
    place(book, waiting("C", Side.BUY, STOP, 101, 1))
    place(book, *(sell(f"s{price}", price, 1) for price in (100, 101, 102, 103)))
    assert triggered(place(book, market("m", Side.BUY, 1))) == ["A", "B"]
    assert (book.next_triggered or buy("none", 1, 1)).order_id == "A"
    events = book.enter_triggered()
    assert (makers(events), triggered(events)) == (["s101"], ["C"])
    events = enter_all(book)
    assert (entered(events), makers(events)) == (["B", "C"], ["s102", "s103"])


def test_t9_a_triggered_order_has_new_priority(book: Book) -> None:
    order = waiting("w1", Side.BUY, STOP_LIMIT, 105, 5, price_ticks=104)
    place(book, order, buy("b1", 104, 5, "bob"), sell("s1", 105, 1))
    place(book, market("m", Side.BUY, 1))
    assert book.enter_triggered() == [OrderEntered(order), OrderRested(6, order, 5, 10, 2)]
    assert makers(place(book, market("n", Side.SELL, 10))) == ["b1", "w1"]


@pytest.mark.parametrize(
    ("kind", "time_in_force", "reason"),
    [
        (STOP, FOK, CancelReason.UNFILLED_FOK),
        (STOP_LIMIT, FOK, CancelReason.UNFILLED_FOK),
        (STOP_LIMIT, IOC, CancelReason.UNFILLED_IOC),
    ],
)
def test_t10_other_instructions_apply_when_the_order_is_triggered(
    book: Book, kind: OrderKind, time_in_force: TimeInForce, reason: CancelReason
) -> None:
    price_ticks = 100 if kind is STOP_LIMIT else 0
    order = instructed(waiting("w1", Side.BUY, kind, 100, 5, price_ticks=price_ticks), time_in_force)
    place(book, order, sell("s1", 100, 2), market("m", Side.BUY, 1))
    events = book.enter_triggered()
    filled = 1 if time_in_force is IOC else 0
    assert sum(lots for _, _, lots in fills(events)) == filled
    assert ending(events) == (5 - filled, reason)


def test_t10_prevention_applies_when_the_order_is_triggered(book: Book) -> None:
    order = instructed(waiting("w1", Side.BUY, STOP, 100, 5), prevention=CANCEL_TAKER)
    place(book, order, sell("s1", 100, 2, "bob"), sell("s2", 100, 9, "ann"), market("m", Side.BUY, 1))
    events = book.enter_triggered()
    assert (fills(events), ending(events)) == ([("s1", 100, 1)], (4, CancelReason.SELF_TRADE))


def test_t11_a_triggered_order_that_is_cancelled_does_not_enter(book: Book) -> None:
    orders = [waiting(name, Side.BUY, STOP, 100, 1) for name in "ABC"]
    place(book, *orders)
    assert triggered(trade_at(book, 100)) == ["A", "B", "C"]
    assert place(book, CancelOrder("B", "ann", CancelReason.EXPIRED)) == [
        WaitingCancelled(9, orders[1], True, "A", CancelReason.EXPIRED)
    ]
    assert entered(enter_all(book)) == ["A", "C"]
