"""Changes of orders by their clients: the rules A of amends and C of cancels."""

import pytest

from matching.engine import (
    AmendOrder,
    CancelOrder,
    CancelReason,
    OrderCancelled,
    OrderEntered,
    OrderKind,
    OrderReduced,
    OrderRested,
    OrderTriggered,
    OrderWithdrawn,
    RejectReason,
    SelfTradePrevention,
    Side,
    Trade,
    WaitingAmended,
    WaitingCancelled,
)
from tests.engine.orders import (
    Book,
    buy,
    changed,
    enter_all,
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
    CANCEL_MAKER,
    CANCEL_TAKER,
    DECREMENT,
    GTD,
    IOC,
    PREVENTIONS,
    STOP,
    STOP_LIMIT,
    TAKE_PROFIT,
    fills,
    trade_at,
)

# --- amends ---------------------------------------------------------------------------------------------


def test_a1_the_quantity_is_the_new_total(book: Book) -> None:
    order = buy("b1", 99, 10)
    place(book, order, market("m", Side.SELL, 4))
    amended = changed(order, quantity_lots=8)
    assert place(book, AmendOrder("b1", "ann", quantity_lots=8)) == [OrderReduced(3, order, amended, 4, 4, 1)]
    assert levels(book) == ([(99, 4)], [])


def test_a2_a_smaller_quantity_keeps_the_priority(book: Book) -> None:
    place(book, buy("b1", 99, 10, "ann"), buy("b2", 99, 5, "bob"))
    place(book, AmendOrder("b1", "ann", price_ticks=99, quantity_lots=3))
    assert fills(place(book, market("m", Side.SELL, 4))) == [("b1", 99, 3), ("b2", 99, 1)]


def test_a3_a_greater_quantity_enters_again(book: Book) -> None:
    order = buy("b1", 99, 3, "ann")
    place(book, order, buy("b2", 99, 5, "bob"))
    amended = changed(order, quantity_lots=4)
    assert place(book, AmendOrder("b1", "ann", quantity_lots=4)) == [
        OrderWithdrawn(3, order, amended, 3, 5, 1, None),
        OrderRested(4, amended, 4, 9, 2),
    ]
    assert makers(place(book, market("m", Side.SELL, 6))) == ["b2", "b1"]


def test_a4_another_price_enters_again_and_may_trade(book: Book) -> None:
    order, maker = buy("b1", 99, 5, "ann"), sell("s1", 101, 2, "bob")
    place(book, order, maker, waiting("w1", Side.BUY, STOP, 101, 1))
    amended = changed(order, price_ticks=101)
    assert place(book, AmendOrder("b1", "ann", price_ticks=101)) == [
        OrderWithdrawn(4, order, amended, 5, 0, 0, None),
        Trade(5, maker, amended, 101, 2, 0, 0, 0),
        OrderRested(6, amended, 3, 3, 1),
        OrderTriggered(7, waiting("w1", Side.BUY, STOP, 101, 1)),
    ]


def test_a4_a_partly_filled_order_enters_again_with_what_remains(book: Book) -> None:
    place(book, buy("b1", 99, 5), market("m", Side.SELL, 2), AmendOrder("b1", "ann", 98, 6))
    assert levels(book) == ([(98, 4)], [])


@pytest.mark.parametrize("prevention", PREVENTIONS)
def test_a5_an_order_that_enters_again_trades_by_its_own_prevention(
    book: Book, prevention: SelfTradePrevention
) -> None:
    place(book, instructed(buy("b1", 99, 5), prevention=prevention), sell("s1", 101, 2))
    events = place(book, AmendOrder("b1", "ann", price_ticks=101))
    assert fills(events) == []
    rests = {CANCEL_TAKER: ([], [(101, 2)]), CANCEL_MAKER: ([(101, 5)], []), DECREMENT: ([(101, 3)], [])}
    assert levels(book) == rests.get(prevention, ([], []))


@pytest.mark.parametrize(
    ("numbers", "keeps_place"),
    [
        ({"quantity_lots": 2}, True),
        ({"quantity_lots": 4}, False),
        ({"price_ticks": 107}, False),
        ({"trigger_price_ticks": 105, "quantity_lots": 1}, True),
    ],
)
def test_a6_a_pending_order_keeps_its_place_if_it_is_only_reduced(
    book: Book, numbers: dict[str, int], keeps_place: bool
) -> None:
    order = waiting("w1", Side.BUY, STOP_LIMIT, 105, 3, price_ticks=106, client_id="ann")
    place(book, order, waiting("w2", Side.BUY, STOP, 105, 3, client_id="bob"))
    amended = changed(order, **numbers)
    (event,) = book.process(AmendOrder("w1", "ann", **numbers))  # type: ignore[arg-type]
    assert event == WaitingAmended(3, order, amended, keeps_place, None)
    expected = ["w1", "w2"] if keeps_place else ["w2", "w1"]
    assert triggered(trade_at(book, 105)) == expected
    assert OrderEntered(amended) in enter_all(book)


def test_a6_another_trigger_price_moves_a_pending_order(book: Book) -> None:
    place(book, *(waiting(name, Side.BUY, STOP, 105, 1) for name in "AB"))
    place(book, waiting("C", Side.BUY, STOP, 104, 1))
    place(book, AmendOrder("A", "ann", trigger_price_ticks=104))
    assert triggered(trade_at(book, 104)) == ["C", "A"]
    assert triggered(trade_at(book, 105)) == ["B"]


def test_a7_a_new_time_keeps_the_priority(book: Book) -> None:
    place(book, instructed(buy("b1", 99, 1), GTD), buy("b2", 99, 1, "bob"))
    assert place(book, AmendOrder("b1", "ann", changes_expiry=True)) == []
    assert makers(place(book, market("m", Side.SELL, 2))) == ["b1", "b2"]
    order = instructed(waiting("w1", Side.BUY, STOP_LIMIT, 105, 1, price_ticks=90), GTD)
    place(book, order, waiting("w2", Side.BUY, STOP, 105, 1))
    (event,) = book.process(AmendOrder("w1", "ann", changes_expiry=True))
    assert event == WaitingAmended(7, order, order, True, None)
    assert triggered(trade_at(book, 105)) == ["w1", "w2"]


def test_a8_the_same_amend_again_changes_nothing(book: Book) -> None:
    place(book, buy("b1", 99, 5, "ann"), waiting("w1", Side.BUY, STOP, 105, 5))
    for amend in (AmendOrder("b1", "ann", quantity_lots=4), AmendOrder("w1", "ann", quantity_lots=6)):
        assert len(place(book, amend)) == 1
        before = book.state_hash()
        assert place(book, amend) == []
        assert book.state_hash() == before


def test_a9_a_refusal_changes_nothing(book: Book) -> None:
    place(book, buy("b1", 99, 5), market("m", Side.SELL, 2))
    before = book.state_hash()
    amend = AmendOrder("b1", "ann", price_ticks=98, quantity_lots=2)
    assert place(book, amend) == refused(amend, RejectReason.QUANTITY_FILLED)
    assert (book.state_hash(), levels(book)) == (before, ([(99, 3)], []))


def test_a10_the_first_refusal_counts(book: Book) -> None:
    """Each amend has all faults from some point on, and gets the first one."""
    place(book, waiting("w1", Side.BUY, STOP, 105, 5), sell("s1", 101, 5, "bob"))
    place(book, instructed(buy("b1", 99, 5), post_only=True), market("m", Side.SELL, 2))
    amends = [
        (AmendOrder("x", "eve", 100, 1, 99, True, True), RejectReason.ORDER_NOT_OPEN),
        (AmendOrder("b1", "eve", 101, 2, 99, True, True), RejectReason.NOT_OWNER),
        (AmendOrder("w1", "ann", price_ticks=100, is_halted=True), RejectReason.INSTRUMENT_HALTED),
        (AmendOrder("b1", "ann", 101, 2, 99, True, True), RejectReason.INSTRUMENT_HALTED),
        (AmendOrder("b1", "ann", 101, 2, 99, True), RejectReason.NOT_APPLICABLE),
        (AmendOrder("b1", "ann", 101, 2), RejectReason.QUANTITY_FILLED),
        (AmendOrder("b1", "ann", 101, 3), RejectReason.WOULD_CROSS),
        (AmendOrder("w1", "ann", 100, 1, 99), RejectReason.NOT_APPLICABLE),
        (AmendOrder("w1", "ann", None, 1, 99), RejectReason.WOULD_TRIGGER),
    ]
    for amend, reason in amends:
        assert place(book, amend) == refused(amend, reason)


def test_a11_another_clients_order_can_not_be_amended(book: Book) -> None:
    place(book, buy("b1", 99, 5), waiting("w1", Side.BUY, STOP, 105, 5))
    for order_id in ("b1", "w1"):
        amend = AmendOrder(order_id, "eve", quantity_lots=1)
        assert place(book, amend) == refused(amend, RejectReason.NOT_OWNER)


def test_a12_an_order_that_has_ended_can_not_be_amended(book: Book) -> None:
    place(book, buy("b1", 99, 5), market("m", Side.SELL, 5))
    amend = AmendOrder("b1", "ann", quantity_lots=9)
    assert place(book, amend) == refused(amend, RejectReason.ORDER_NOT_OPEN)


def test_a13_h2_a_halted_instrument_takes_amends_that_only_reduce(book: Book) -> None:
    order = instructed(buy("b1", 99, 5), GTD)
    place(book, order, waiting("w1", Side.BUY, STOP, 105, 5))
    for amend in (
        AmendOrder("b1", "ann", price_ticks=98, is_halted=True),
        AmendOrder("b1", "ann", quantity_lots=6, is_halted=True),
        AmendOrder("b1", "ann", quantity_lots=3, changes_expiry=True, is_halted=True),
        AmendOrder("w1", "ann", quantity_lots=6, is_halted=True),
        AmendOrder("w1", "ann", trigger_price_ticks=106, is_halted=True),
    ):
        assert place(book, amend) == refused(amend, RejectReason.INSTRUMENT_HALTED)
    (reduced,) = book.process(AmendOrder("b1", "ann", quantity_lots=3, is_halted=True))
    assert reduced == OrderReduced(3, order, changed(order, quantity_lots=3), 3, 3, 1)
    assert book.process(AmendOrder("b1", "ann", quantity_lots=3, is_halted=True)) == []
    (reduced,) = book.process(AmendOrder("w1", "ann", quantity_lots=3, is_halted=True))
    assert isinstance(reduced, WaitingAmended)


@pytest.mark.parametrize("kind", [STOP, TAKE_PROFIT])
def test_a14_a_market_kind_has_no_price(book: Book, kind: OrderKind) -> None:
    place(book, waiting("w1", Side.BUY, kind, 105, 5))
    amend = AmendOrder("w1", "ann", price_ticks=100)
    assert place(book, amend) == refused(amend, RejectReason.NOT_APPLICABLE)


def test_a15_only_a_pending_order_has_a_trigger_price(book: Book) -> None:
    place(book, waiting("w1", Side.BUY, STOP_LIMIT, 105, 5, price_ticks=90), buy("b1", 99, 5))
    trade_at(book, 105)
    enter_all(book)
    for order_id in ("w1", "b1"):
        amend = AmendOrder(order_id, "ann", trigger_price_ticks=105)
        assert place(book, amend) == refused(amend, RejectReason.NOT_APPLICABLE)


def test_a16_only_a_gtd_order_has_a_time(book: Book) -> None:
    place(book, buy("b1", 99, 5), waiting("w1", Side.BUY, STOP, 105, 5))
    for order_id in ("b1", "w1"):
        amend = AmendOrder(order_id, "ann", changes_expiry=True)
        assert place(book, amend) == refused(amend, RejectReason.NOT_APPLICABLE)


def test_a17_the_quantity_must_be_above_what_is_filled_and_prevented(book: Book) -> None:
    place(book, buy("b1", 99, 10), market("m", Side.SELL, 3))
    place(book, instructed(sell("s1", 99, 1), IOC, prevention=DECREMENT))
    for price_ticks in (None, 98):
        amend = AmendOrder("b1", "ann", price_ticks, quantity_lots=4)
        assert place(book, amend) == refused(amend, RejectReason.QUANTITY_FILLED)
    place(book, AmendOrder("b1", "ann", quantity_lots=5))
    assert levels(book) == ([(99, 1)], [])


def test_a18_a_trigger_price_that_the_last_trade_meets_is_refused(book: Book) -> None:
    trade_at(book, 100)
    place(book, waiting("w1", Side.BUY, STOP, 105, 5), waiting("w2", Side.SELL, STOP, 95, 5))
    for order_id in ("w1", "w2"):
        amend = AmendOrder(order_id, "ann", trigger_price_ticks=100)
        assert place(book, amend) == refused(amend, RejectReason.WOULD_TRIGGER)
    place(book, AmendOrder("w1", "ann", trigger_price_ticks=101))
    place(book, AmendOrder("w2", "ann", trigger_price_ticks=99))
    assert triggered(trade_at(book, 101)) == ["w1"]


def test_a19_a_post_only_order_that_would_trade_is_refused(book: Book) -> None:
    place(book, sell("s1", 101, 5, "bob"), instructed(buy("b1", 99, 5), post_only=True))
    before = book.state_hash()
    amend = AmendOrder("b1", "ann", price_ticks=101)
    assert place(book, amend) == refused(amend, RejectReason.WOULD_CROSS)
    assert book.state_hash() == before
    place(book, AmendOrder("b1", "ann", price_ticks=100))
    assert levels(book) == ([(100, 5)], [(101, 5)])


# --- cancels --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", [CancelReason.CLIENT_REQUEST, CancelReason.OPERATOR], ids=["c1", "c4"])
def test_c1_c4_open_and_pending_orders_can_be_cancelled(book: Book, reason: CancelReason) -> None:
    order, stop = buy("b1", 99, 5), waiting("w1", Side.BUY, STOP, 105, 5)
    place(book, order, stop, market("m", Side.SELL, 2))
    assert place(book, CancelOrder("b1", "ann", reason)) == [OrderCancelled(4, order, 3, 0, 0, None, reason)]
    assert place(book, CancelOrder("w1", "ann", reason)) == [WaitingCancelled(5, stop, False, None, reason)]
    assert (len(book), book.waiting_count) == (0, 0)


def test_c2_another_clients_order_can_not_be_cancelled(book: Book) -> None:
    place(book, buy("b1", 99, 5), waiting("w1", Side.BUY, STOP, 105, 5))
    for order_id in ("b1", "w1"):
        cancel = CancelOrder(order_id, "eve")
        assert place(book, cancel) == refused(cancel, RejectReason.NOT_OWNER)


def test_c3_an_order_that_has_ended_can_not_be_cancelled(book: Book) -> None:
    place(book, buy("b1", 99, 5), market("m", Side.SELL, 5), instructed(buy("b2", 99, 1), IOC))
    place(book, waiting("w1", Side.BUY, STOP, 105, 5), CancelOrder("w1", "ann"))
    for order_id in ("b1", "b2", "w1"):
        cancel = CancelOrder(order_id, "ann")
        assert place(book, cancel) == refused(cancel, RejectReason.ORDER_NOT_OPEN)
