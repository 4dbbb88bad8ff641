"""What all order books have in common: limit and market orders, cancels, queries.

Each test runs on the engine and on the reference. The rules of docs/orders.md are tested in rules/,
and the hash and the restoring of the state in test_state.py, and not here again.
"""

from typing import Any

import pytest

from matching.engine import (
    INTEGER_MAX,
    PLAIN,
    AmendOrder,
    CancelOrder,
    CancelReason,
    Instructions,
    Level,
    OrderCancelled,
    OrderKind,
    OrderRested,
    PlaceOrder,
    RejectReason,
    RemainderCancelled,
    Side,
    TimeInForce,
    Trade,
    WaitingCancelled,
    instructions_of,
)
from tests.engine.orders import (
    Book,
    buy,
    changed,
    instructed,
    makers,
    market,
    place,
    refused,
    sell,
    triggered,
    waiting,
)


def test_a_new_book_is_empty(book: Book) -> None:
    assert (book.sequence, len(book), book.best_bid, book.best_ask) == (0, 0, None, None)
    assert book.depth() == ([], [])
    assert book.order_count(Side.BUY) == book.order_count(Side.SELL) == 0
    assert not book.contains("a")


def test_a_limit_order_rests_if_it_crosses_nothing(book: Book) -> None:
    assert place(book, buy("b1", 99, 5)) == [OrderRested(1, buy("b1", 99, 5), 5, 5, 1)]
    assert place(book, sell("s1", 100, 7)) == [OrderRested(2, sell("s1", 100, 7), 7, 7, 1)]
    assert place(book, buy("b2", 99, 4)) == [OrderRested(3, buy("b2", 99, 4), 4, 9, 2)]
    assert (book.best_bid, book.best_ask, book.sequence, len(book)) == (99, 100, 3, 3)
    assert book.depth() == ([Level(99, 9, 2)], [Level(100, 7, 1)])
    assert book.contains("b2")


def test_a_trade_names_both_orders_and_its_numbers(book: Book) -> None:
    maker, taker = sell("s1", 100, 5), buy("b1", 120, 5, "bob")
    assert place(book, maker, taker) == [Trade(2, maker, taker, 100, 5, 0, 0, 0)]
    maker, taker = buy("b2", 100, 5), sell("s2", 80, 5, "bob")
    assert place(book, maker, taker) == [Trade(4, maker, taker, 100, 5, 0, 0, 0)]
    assert len(book) == 0


def test_a_partly_filled_maker_keeps_the_rest(book: Book) -> None:
    maker, taker = sell("s1", 100, 5), market("m1", Side.BUY, 2)
    assert place(book, maker, sell("s2", 100, 5), taker) == [Trade(3, maker, taker, 100, 2, 3, 8, 2)]


def test_a_partly_filled_taker_rests_with_the_remainder(book: Book) -> None:
    maker, taker = sell("s1", 100, 5), buy("b1", 101, 8, "bob")
    assert place(book, maker, taker) == [
        Trade(2, maker, taker, 100, 5, 0, 0, 0),
        OrderRested(3, taker, 3, 3, 1),
    ]
    assert (book.best_bid, book.best_ask) == (101, None)


def test_a_market_order_in_an_empty_book_changes_nothing(book: Book) -> None:
    before = book.state_hash()
    assert place(book, market("m1", Side.SELL, 12)) == [RemainderCancelled(market("m1", Side.SELL, 12), 12)]
    assert book.state_hash() == before


@pytest.mark.parametrize("taken", ["s1", "s2", "s3"])
def test_a_cancel_takes_one_order_out_of_the_queue(book: Book, taken: str) -> None:
    lots = {"s1": 1, "s2": 2, "s3": 4}
    place(book, *(sell(order_id, 100, quantity) for order_id, quantity in lots.items()))
    remaining = lots.pop(taken)
    previous = {"s1": None, "s2": "s1", "s3": "s2"}[taken]
    assert place(book, CancelOrder(taken, "ann")) == [
        OrderCancelled(4, sell(taken, 100, remaining), remaining, 7 - remaining, 2, previous)
    ]
    assert not book.contains(taken)
    place(book, sell("s4", 100, 8))
    assert makers(place(book, market("m", Side.BUY, 15))) == [*lots, "s4"]


@pytest.mark.parametrize("reason", CancelReason)
def test_a_cancels_event_has_the_reason_of_the_command(book: Book, reason: CancelReason) -> None:
    place(book, buy("b1", 100, 5))
    (event,) = place(book, CancelOrder("b1", "ann", reason))
    assert isinstance(event, OrderCancelled)
    assert event.reason is reason


def test_a_cancel_of_a_partly_filled_order_has_the_remaining_quantity(book: Book) -> None:
    place(book, buy("b1", 100, 5), market("m1", Side.SELL, 2))
    assert place(book, CancelOrder("b1", "ann")) == [OrderCancelled(3, buy("b1", 100, 5), 3, 0, 0, None)]


def test_the_next_level_becomes_best_when_the_best_is_cancelled(book: Book) -> None:
    place(book, sell("s1", 100, 1), sell("s2", 101, 1), sell("s3", 102, 1))
    place(book, CancelOrder("s2", "ann"), CancelOrder("s1", "ann"))
    assert book.best_ask == 102
    assert book.depth() == ([], [Level(102, 1, 1)])


def test_an_emptied_level_can_be_used_again(book: Book) -> None:
    place(book, buy("b1", 100, 1), buy("b2", 99, 1), CancelOrder("b2", "ann"))
    assert place(book, buy("b3", 99, 4)) == [OrderRested(4, buy("b3", 99, 4), 4, 4, 1)]
    assert makers(place(book, market("m", Side.SELL, 9))) == ["b1", "b3"]
    assert (book.best_bid, len(book)) == (None, 0)


def test_refusals_name_their_reason_and_change_nothing(book: Book) -> None:
    place(book, buy("b1", 100, 5), sell("s1", 110, 5), waiting("w1", Side.BUY, OrderKind.STOP, 120, 5))
    before = book.state_hash()
    commands: dict[PlaceOrder | CancelOrder | AmendOrder, RejectReason] = {
        CancelOrder("nobody", "ann"): RejectReason.ORDER_NOT_OPEN,
        CancelOrder("b1", "eve"): RejectReason.NOT_OWNER,
        buy("b1", 120, 1): RejectReason.DUPLICATE_ORDER_ID,
        market("s1", Side.BUY, 1): RejectReason.DUPLICATE_ORDER_ID,
        waiting("w1", Side.BUY, OrderKind.STOP, 120, 1): RejectReason.DUPLICATE_ORDER_ID,
        instructed(buy("w1", 1, 1), TimeInForce.IOC): RejectReason.DUPLICATE_ORDER_ID,
        buy("w1", 1, 1): RejectReason.DUPLICATE_ORDER_ID,
        CancelOrder("w1", "eve"): RejectReason.NOT_OWNER,
        AmendOrder("nobody", "ann", 1): RejectReason.ORDER_NOT_OPEN,
        AmendOrder("b1", "eve", 1): RejectReason.NOT_OWNER,
        AmendOrder("w1", "eve", quantity_lots=1): RejectReason.NOT_OWNER,
    }
    for command, reason in commands.items():
        assert place(book, command) == refused(command, reason)
    assert book.state_hash() == before


IMPOSSIBLE: list[tuple[str, dict[str, Any]]] = [
    ("quantity_lots=0", {"quantity_lots": 0}),
    ("quantity_lots=-1", {"quantity_lots": -1}),
    ("quantity_lots=1.0", {"quantity_lots": 1.0}),
    ("quantity_lots=True", {"quantity_lots": True}),
    ("quantity_lots=None", {"quantity_lots": None}),
    (f"quantity_lots={INTEGER_MAX + 1}", {"quantity_lots": INTEGER_MAX + 1}),
    ("price_ticks=0", {"price_ticks": 0}),
    ("price_ticks=-5", {"price_ticks": -5}),
    ("price_ticks='100'", {"price_ticks": "100"}),
    (f"price_ticks={INTEGER_MAX + 1}", {"price_ticks": INTEGER_MAX + 1}),
    ("price_ticks=100", {"kind": OrderKind.MARKET}),
    ("side=0", {"side": 0}),
    ("side=None", {"side": None}),
    ("kind=0", {"kind": 0}),
    ("order_id=7", {"order_id": 7}),
    ("client_id=None", {"client_id": None}),
    ("trigger_price_ticks=7", {"trigger_price_ticks": 7}),
    ("trigger_price_ticks=0", {"kind": OrderKind.STOP_LIMIT}),
    ("trigger_price_ticks=1.5", {"kind": OrderKind.STOP_LIMIT, "trigger_price_ticks": 1.5}),
    ("price_ticks=100", {"kind": OrderKind.TAKE_PROFIT, "trigger_price_ticks": 7}),
    ("price_ticks=0", {"kind": OrderKind.TAKE_PROFIT_LIMIT, "price_ticks": 0, "trigger_price_ticks": 7}),
    ("instructions=None", {"instructions": None}),
    ("post_only=True", {"instructions": Instructions(TimeInForce.IOC, post_only=True)}),
    ("post_only=True", {"instructions": Instructions(TimeInForce.FOK, post_only=True)}),
    (
        "post_only=True",
        {"instructions": Instructions(post_only=True), "kind": OrderKind.MARKET, "price_ticks": 0},
    ),
    (
        "time_in_force=GTD",
        {"instructions": Instructions(TimeInForce.GTD), "kind": OrderKind.MARKET, "price_ticks": 0},
    ),
]


@pytest.mark.parametrize(("message", "wrong"), IMPOSSIBLE)
def test_an_impossible_order_raises_before_any_change(
    book: Book, message: str, wrong: dict[str, Any]
) -> None:
    place(book, sell("s1", 90, 5), buy("b1", 80, 5))
    before = book.state_hash()
    fields: dict[str, Any] = {
        "order_id": "x",
        "client_id": "ann",
        "side": Side.BUY,
        "kind": OrderKind.LIMIT,
        "price_ticks": 100,
        "quantity_lots": 9,
    }
    with pytest.raises(ValueError, match=message):
        book.process(PlaceOrder(**fields | wrong))
    assert book.state_hash() == before
    assert makers(place(book, market("m", Side.BUY, 5))) == ["s1"]


def test_an_invalid_command_raises(book: Book) -> None:
    impossible: list[Any] = [None, "cancel", ("b1", "ann"), OrderRested(1, buy("b1", 1, 1), 1, 1, 1)]
    for command in impossible:
        with pytest.raises(ValueError, match="command="):
            book.process(command)
    unhashable: Any = []
    with pytest.raises(ValueError, match=r"order_id=\[\]"):
        book.process(CancelOrder(unhashable, "ann"))


def test_depth_gives_the_best_levels_first(book: Book) -> None:
    place(book, *(buy(f"b{price}", price, price) for price in (97, 99, 98)))
    place(book, *(sell(f"s{price}", price, price) for price in (102, 101, 103)))
    assert book.depth(2) == ([Level(99, 99, 1), Level(98, 98, 1)], [Level(101, 101, 1), Level(102, 102, 1)])
    assert [len(side) for side in book.depth()] == [3, 3]
    assert book.depth(0) == ([], [])
    with pytest.raises(ValueError, match="levels=-1"):
        book.depth(-1)


def test_equal_instructions_are_one_object() -> None:
    assert instructions_of(TimeInForce.GTC) is PLAIN
    assert instructions_of(TimeInForce.IOC) is instructions_of(TimeInForce.IOC)


def test_a_book_finds_its_orders_as_they_are_now(book: Book) -> None:
    order, stop = buy("b1", 99, 5), waiting("w1", Side.BUY, OrderKind.STOP, 110, 5)
    place(book, order, stop, AmendOrder("b1", "ann", quantity_lots=3))
    amended = changed(order, quantity_lots=3)
    assert [book.find(order_id) for order_id in ("b1", "w1", "x")] == [amended, stop, None]
    assert [book.is_waiting(order_id) for order_id in ("b1", "w1", "x")] == [False, True, False]
    place(book, sell("s1", 110, 1), market("m", Side.BUY, 1))
    assert (book.find("w1"), book.is_waiting("w1"), book.next_triggered) == (stop, True, stop)
    book.enter_triggered()
    assert (book.find("w1"), book.is_waiting("w1"), book.waiting_count) == (None, False, 0)


def test_a_cancel_takes_a_waiting_order_out_of_its_queue(book: Book) -> None:
    orders = [waiting(order_id, Side.BUY, OrderKind.STOP, 100, 1) for order_id in ("w1", "w2", "w3")]
    place(book, *orders, sell("s1", 100, 9))
    assert place(book, CancelOrder("w2", "ann", CancelReason.EXPIRED)) == [
        WaitingCancelled(5, orders[1], False, "w1", CancelReason.EXPIRED)
    ]
    assert triggered(place(book, market("m", Side.BUY, 1))) == ["w1", "w3"]
    assert place(book, CancelOrder("w3", "ann")) == [
        WaitingCancelled(9, orders[2], True, "w1", CancelReason.CLIENT_REQUEST)
    ]
    assert makers(book.enter_triggered()) == ["s1"]
    assert (book.next_triggered, book.waiting_count) == (None, 0)


def test_a_triggered_order_can_not_be_amended_any_more(book: Book) -> None:
    """No client can try it, because triggered orders enter before the next command."""
    place(book, sell("s1", 100, 9), waiting("w1", Side.BUY, OrderKind.STOP, 100, 5))
    place(book, market("m", Side.BUY, 1))
    amend = AmendOrder("w1", "ann", quantity_lots=1)
    assert place(book, amend) == refused(amend, RejectReason.ORDER_NOT_OPEN)


def test_nothing_enters_if_no_order_is_triggered(book: Book) -> None:
    place(book, waiting("w1", Side.BUY, OrderKind.STOP, 110, 5))
    with pytest.raises(ValueError, match="no order is triggered"):
        book.enter_triggered()


@pytest.mark.parametrize(
    ("message", "wrong"),
    [
        ("order_id=7", {"order_id": 7}),
        ("client_id=None", {"client_id": None}),
        ("price_ticks=0", {"price_ticks": 0}),
        ("quantity_lots=1.0", {"quantity_lots": 1.0}),
        ("trigger_price_ticks=True", {"trigger_price_ticks": True}),
    ],
)
def test_an_impossible_amend_raises_before_any_change(
    book: Book, message: str, wrong: dict[str, Any]
) -> None:
    place(book, buy("b1", 80, 5))
    before = book.state_hash()
    fields: dict[str, Any] = {"order_id": "b1", "client_id": "ann", "quantity_lots": 3}
    with pytest.raises(ValueError, match=message):
        book.process(AmendOrder(**fields | wrong))
    assert book.state_hash() == before
