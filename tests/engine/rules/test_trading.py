"""Whom an order trades with, and at what price: the rules P, K, F and O."""

import pytest

from matching.engine import (
    INTEGER_MAX,
    CancelOrder,
    CancelReason,
    OrderCancelled,
    OrderEntered,
    OrderKind,
    OrderRested,
    OrderWaits,
    RejectReason,
    RemainderCancelled,
    SelfTradePrevention,
    Side,
    TimeInForce,
)
from tests.engine.orders import (
    Book,
    buy,
    instructed,
    levels,
    makers,
    market,
    place,
    refused,
    sell,
    triggered,
    waiting,
)
from tests.engine.rules.examples import (
    CANCEL_BOTH,
    CANCEL_MAKER,
    CANCEL_TAKER,
    DECREMENT,
    FOK,
    GTC,
    GTD,
    IOC,
    PREVENTIONS,
    STOP,
    STOP_LIMIT,
    TAKE_PROFIT,
    TAKE_PROFIT_LIMIT,
    ending,
    fills,
    trade_at,
)

# --- priority and price ---------------------------------------------------------------------------------


def test_p1_the_best_price_trades_first(book: Book) -> None:
    place(book, sell("s1", 102, 1), sell("s2", 100, 1), sell("s3", 101, 1))
    assert fills(place(book, market("m", Side.BUY, 3))) == [("s2", 100, 1), ("s3", 101, 1), ("s1", 102, 1)]
    place(book, buy("b1", 98, 1), buy("b2", 100, 1), buy("b3", 99, 1))
    assert fills(place(book, market("n", Side.SELL, 3))) == [("b2", 100, 1), ("b3", 99, 1), ("b1", 98, 1)]


def test_p2_at_one_price_the_earlier_order_trades_first(book: Book) -> None:
    place(book, sell("s1", 100, 1, "ann"), sell("s2", 100, 1, "bob"))
    assert makers(place(book, market("m", Side.BUY, 1))) == ["s1"]


def test_p3_a_trade_has_the_resting_orders_price(book: Book) -> None:
    assert fills(place(book, sell("s1", 100, 5), buy("b1", 120, 5))) == [("s1", 100, 5)]


def test_p4_a_partly_filled_order_keeps_its_place(book: Book) -> None:
    place(book, sell("s1", 100, 5, "ann"), sell("s2", 100, 5, "bob"), market("m", Side.BUY, 2))
    assert fills(place(book, market("n", Side.BUY, 4))) == [("s1", 100, 3), ("s2", 100, 1)]


# --- types ----------------------------------------------------------------------------------------------


def test_k1_a_limit_order_trades_at_its_price_or_better_and_rests(book: Book) -> None:
    place(book, *(sell(f"s{price}", price, 1) for price in (100, 101, 102)))
    assert fills(place(book, buy("b1", 101, 9))) == [("s100", 100, 1), ("s101", 101, 1)]
    assert levels(book) == ([(101, 7)], [(102, 1)])


def test_k2_a_market_orders_remainder_is_cancelled(book: Book) -> None:
    events = place(book, sell("s1", 100, 5), sell("s2", INTEGER_MAX, 5), market("m", Side.BUY, 12))
    assert fills(events) == [("s1", 100, 5), ("s2", INTEGER_MAX, 5)]
    assert ending(events) == (2, CancelReason.NO_LIQUIDITY)
    assert len(book) == 0


@pytest.mark.parametrize(
    ("kind", "side", "too_far", "meets"),
    [
        (STOP, Side.BUY, 104, 105),
        (STOP, Side.SELL, 106, 105),
        (TAKE_PROFIT, Side.SELL, 104, 106),
        (TAKE_PROFIT, Side.BUY, 106, 104),
    ],
)
def test_k3_k4_a_trade_triggers_stops_and_take_profits(
    book: Book, kind: OrderKind, side: Side, too_far: int, meets: int
) -> None:
    order = waiting("w1", side, kind, 105, 3)
    assert place(book, order) == [OrderWaits(1, order)]
    assert triggered(trade_at(book, too_far)) == []
    assert triggered(trade_at(book, meets)) == ["w1"]
    place(book, buy("b1", 1, 2, "bob") if side is Side.SELL else sell("s1", 999, 2, "bob"))
    events = book.enter_triggered()
    assert [lots for _, _, lots in fills(events)] == [2]
    assert ending(events) == (1, CancelReason.NO_LIQUIDITY)


def test_k5_a_stop_limit_trades_as_a_limit_order(book: Book) -> None:
    order = waiting("w1", Side.BUY, STOP_LIMIT, 105, 5, price_ticks=106)
    place(book, order, sell("s1", 105, 1), sell("s2", 106, 2), sell("s3", 107, 9))
    assert triggered(place(book, market("m", Side.BUY, 1))) == ["w1"]
    events = book.enter_triggered()
    assert events[0] == OrderEntered(order)
    assert fills(events) == [("s2", 106, 2)]
    assert events[-1] == OrderRested(8, order, 3, 3, 1)
    assert levels(book) == ([(106, 3)], [(107, 9)])


def test_k6_a_take_profit_limit_trades_as_a_limit_order(book: Book) -> None:
    order = waiting("w1", Side.SELL, TAKE_PROFIT_LIMIT, 105, 5, price_ticks=104)
    place(book, order, buy("b1", 105, 1), buy("b2", 104, 2), buy("b3", 103, 9))
    assert triggered(place(book, market("m", Side.SELL, 1))) == ["w1"]
    assert fills(book.enter_triggered()) == [("b2", 104, 2)]
    assert levels(book) == ([(103, 9)], [(104, 3)])


# --- time in force --------------------------------------------------------------------------------------


@pytest.mark.parametrize("time_in_force", [GTC, GTD], ids=["f1", "f2"])
def test_f1_f2_gtc_and_gtd_rest(book: Book, time_in_force: TimeInForce) -> None:
    order = instructed(buy("b1", 99, 5), time_in_force)
    assert place(book, order) == [OrderRested(1, order, 5, 5, 1)]
    assert makers(place(book, market("m", Side.SELL, 2))) == ["b1"]
    assert place(book, CancelOrder("b1", "ann", CancelReason.EXPIRED)) == [
        OrderCancelled(3, order, 3, 0, 0, None, CancelReason.EXPIRED)
    ]


def test_f3_what_an_ioc_order_does_not_trade_is_cancelled(book: Book) -> None:
    events = place(book, sell("s1", 100, 2), instructed(buy("b1", 100, 5), IOC))
    assert (fills(events), ending(events)) == ([("s1", 100, 2)], (3, CancelReason.UNFILLED_IOC))
    assert len(book) == 0


def test_f4_a_fok_order_trades_completely_or_not_at_all(book: Book) -> None:
    place(book, sell("s1", 100, 2), sell("s2", 101, 2))
    before = book.state_hash()
    events = place(book, instructed(buy("b1", 101, 5), FOK))
    assert (len(events), ending(events)) == (1, (5, CancelReason.UNFILLED_FOK))
    assert book.state_hash() == before
    events = place(book, instructed(buy("b2", 100, 4), FOK))
    assert ending(events) == (4, CancelReason.UNFILLED_FOK)
    assert fills(place(book, instructed(buy("b3", 101, 4), FOK))) == [("s1", 100, 2), ("s2", 101, 2)]


def test_f5_with_cancel_maker_a_fok_order_counts_the_orders_of_others(book: Book) -> None:
    place(book, sell("s1", 100, 3, "ann"), sell("s2", 100, 5, "bob"))
    before = book.state_hash()
    events = place(book, instructed(buy("b1", 100, 6), FOK, prevention=CANCEL_MAKER))
    assert (len(events), ending(events)) == (1, (6, CancelReason.UNFILLED_FOK))
    assert book.state_hash() == before
    events = place(book, instructed(buy("b2", 100, 5), FOK, prevention=CANCEL_MAKER))
    assert isinstance(events[0], OrderCancelled)
    assert (events[0].order.order_id, events[0].reason) == ("s1", CancelReason.SELF_TRADE)
    assert fills(events) == [("s2", 100, 5)]


@pytest.mark.parametrize("prevention", [CANCEL_TAKER, CANCEL_BOTH, DECREMENT])
def test_f6_with_other_prevention_counting_ends_at_the_first_own_order(
    book: Book, prevention: SelfTradePrevention
) -> None:
    place(book, sell("s1", 100, 2, "bob"), sell("s2", 100, 3, "ann"), sell("s3", 101, 5, "bob"))
    before = book.state_hash()
    events = place(book, instructed(buy("b1", 101, 3), FOK, prevention=prevention))
    assert (len(events), ending(events)) == (1, (3, CancelReason.UNFILLED_FOK))
    assert book.state_hash() == before
    events = place(book, instructed(buy("b2", 101, 2), FOK, prevention=prevention))
    assert (len(events), fills(events)) == (1, [("s1", 100, 2)])


def test_f7_market_orders_are_ioc_or_fok(book: Book) -> None:
    place(book, sell("s1", 100, 2))
    events = place(book, instructed(market("m1", Side.BUY, 3), FOK))
    assert (len(events), ending(events)) == (1, (3, CancelReason.UNFILLED_FOK))
    events = place(book, instructed(market("m2", Side.BUY, 3), IOC))
    assert (fills(events), ending(events)) == ([("s1", 100, 2)], (1, CancelReason.NO_LIQUIDITY))


# --- post-only ------------------------------------------------------------------------------------------


def test_o1_a_post_only_order_that_would_trade_is_rejected(book: Book) -> None:
    place(book, sell("s1", 100, 5, "bob"))
    before = book.state_hash()
    for price_ticks in (100, 101):
        order = instructed(buy("b1", price_ticks, 1), post_only=True)
        assert place(book, order) == refused(order, RejectReason.WOULD_CROSS)
    assert book.state_hash() == before


@pytest.mark.parametrize("prevention", PREVENTIONS)
def test_o2_it_does_not_matter_whose_order_it_would_meet(book: Book, prevention: SelfTradePrevention) -> None:
    place(book, sell("s1", 100, 5))
    order = instructed(buy("b1", 100, 1), post_only=True, prevention=prevention)
    assert place(book, order) == refused(order, RejectReason.WOULD_CROSS)
    assert book.contains("s1")


def test_o3_a_post_only_order_rests_at_its_price(book: Book) -> None:
    place(book, sell("s1", 100, 5), instructed(buy("b1", 99, 1), post_only=True))
    assert levels(book) == ([(99, 1)], [(100, 5)])


def test_o4_a_post_only_order_is_cancelled_if_it_would_trade_when_triggered(book: Book) -> None:
    order = instructed(waiting("w1", Side.BUY, STOP_LIMIT, 105, 5, price_ticks=105), post_only=True)
    place(book, order, sell("s1", 105, 9), market("m", Side.BUY, 1))
    before = book.sequence
    assert book.enter_triggered() == [
        OrderEntered(order),
        RemainderCancelled(order, 5, CancelReason.WOULD_CROSS),
    ]
    assert (book.sequence, levels(book)) == (before, ([], [(105, 8)]))
