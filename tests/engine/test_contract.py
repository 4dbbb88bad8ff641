"""The contract of an order book. Each test runs on the engine and on the reference."""

from hashlib import sha256
from typing import Any

import pytest

from matching.engine import (
    INTEGER_MAX,
    CancelOrder,
    CancelReason,
    CommandRejected,
    Event,
    Level,
    OrderBook,
    OrderCancelled,
    OrderKind,
    OrderRested,
    PlaceOrder,
    RejectReason,
    RemainderCancelled,
    Side,
    Trade,
)
from tests.engine.reference import ReferenceBook

Book = OrderBook | ReferenceBook


@pytest.fixture(params=[OrderBook, ReferenceBook], ids=["engine", "reference"])
def book(request: pytest.FixtureRequest) -> Book:
    made: Book = request.param()
    return made


def limit(
    order_id: str, side: Side, price_ticks: int, quantity_lots: int, client_id: str = "ann"
) -> PlaceOrder:
    return PlaceOrder(order_id, client_id, side, OrderKind.LIMIT, price_ticks, quantity_lots)


def market(order_id: str, side: Side, quantity_lots: int, client_id: str = "tom") -> PlaceOrder:
    return PlaceOrder(order_id, client_id, side, OrderKind.MARKET, 0, quantity_lots)


def buy(order_id: str, price_ticks: int, quantity_lots: int) -> PlaceOrder:
    return limit(order_id, Side.BUY, price_ticks, quantity_lots)


def sell(order_id: str, price_ticks: int, quantity_lots: int) -> PlaceOrder:
    return limit(order_id, Side.SELL, price_ticks, quantity_lots)


def place(book: Book, *commands: PlaceOrder | CancelOrder) -> list[Event]:
    """Process all commands, and return the events of the last one."""
    events: list[Event] = []
    for command in commands:
        events = book.process(command)
    return events


def makers(events: list[Event]) -> list[str]:
    return [event.maker_order_id for event in events if isinstance(event, Trade)]


def test_a_new_book_is_empty(book: Book) -> None:
    assert (book.sequence, len(book), book.best_bid, book.best_ask) == (0, 0, None, None)
    assert book.depth() == ([], [])
    assert book.order_count(Side.BUY) == book.order_count(Side.SELL) == 0
    assert not book.contains("a")


def test_a_limit_order_rests_if_it_crosses_nothing(book: Book) -> None:
    assert place(book, buy("b1", 99, 5)) == [OrderRested(1, "b1", "ann", Side.BUY, 99, 5, 5, 1)]
    assert place(book, sell("s1", 100, 7)) == [OrderRested(2, "s1", "ann", Side.SELL, 100, 7, 7, 1)]
    assert place(book, buy("b2", 99, 4)) == [OrderRested(3, "b2", "ann", Side.BUY, 99, 4, 9, 2)]
    assert (book.best_bid, book.best_ask, book.sequence, len(book)) == (99, 100, 3, 3)
    assert book.depth() == ([Level(99, 9, 2)], [Level(100, 7, 1)])
    assert book.contains("b2")


def test_a_trade_prints_at_the_makers_price(book: Book) -> None:
    events = place(book, sell("s1", 100, 5), limit("b1", Side.BUY, 120, 5, "bob"))
    assert events == [Trade(2, "s1", "ann", "b1", "bob", Side.BUY, 100, 5, 0, 0, 0)]
    events = place(book, buy("b2", 100, 5), limit("s2", Side.SELL, 80, 5, "bob"))
    assert events == [Trade(4, "b2", "ann", "s2", "bob", Side.SELL, 100, 5, 0, 0, 0)]
    assert len(book) == 0


def test_a_partly_filled_maker_stays_first(book: Book) -> None:
    events = place(book, sell("s1", 100, 5), sell("s2", 100, 5), market("m1", Side.BUY, 2))
    assert events == [Trade(3, "s1", "ann", "m1", "tom", Side.BUY, 100, 2, 3, 8, 2)]
    assert makers(place(book, market("m2", Side.BUY, 4))) == ["s1", "s2"]
    assert book.depth() == ([], [Level(100, 4, 1)])


def test_a_partly_filled_taker_rests_with_the_remainder(book: Book) -> None:
    assert place(book, sell("s1", 100, 5), limit("b1", Side.BUY, 101, 8, "bob")) == [
        Trade(2, "s1", "ann", "b1", "bob", Side.BUY, 100, 5, 0, 0, 0),
        OrderRested(3, "b1", "bob", Side.BUY, 101, 3, 3, 1),
    ]
    assert (book.best_bid, book.best_ask) == (101, None)


def test_the_best_price_is_filled_first(book: Book) -> None:
    place(book, sell("dear", 102, 1), sell("cheap", 100, 1), sell("middle", 101, 1))
    assert makers(place(book, market("m", Side.BUY, 3))) == ["cheap", "middle", "dear"]
    place(book, buy("low", 98, 1), buy("high", 100, 1), buy("between", 99, 1))
    assert makers(place(book, market("n", Side.SELL, 3))) == ["high", "between", "low"]


def test_at_one_price_the_earliest_order_is_filled_first(book: Book) -> None:
    place(book, sell("s1", 100, 1), sell("s2", 100, 9), sell("s3", 100, 1))
    assert makers(place(book, buy("b1", 100, 11))) == ["s1", "s2", "s3"]


def test_a_limit_order_stops_at_its_price(book: Book) -> None:
    events = place(book, sell("s1", 100, 1), sell("s2", 101, 1), sell("s3", 102, 1), buy("b1", 101, 9))
    assert makers(events) == ["s1", "s2"]
    assert events[-1] == OrderRested(6, "b1", "ann", Side.BUY, 101, 7, 7, 1)
    assert (book.best_bid, book.best_ask) == (101, 102)


def test_a_market_orders_remainder_is_cancelled(book: Book) -> None:
    events = place(book, sell("s1", 100, 5), sell("s2", INTEGER_MAX, 5), market("m1", Side.BUY, 12))
    assert makers(events) == ["s1", "s2"]
    assert events[-1] == RemainderCancelled("m1", "tom", 2)
    assert (book.sequence, len(book)) == (4, 0)


def test_a_market_order_in_an_empty_book_changes_nothing(book: Book) -> None:
    before = book.state_hash()
    assert place(book, market("m1", Side.SELL, 12)) == [RemainderCancelled("m1", "tom", 12)]
    assert book.state_hash() == before


def test_a_client_may_trade_with_itself(book: Book) -> None:
    assert makers(place(book, sell("s1", 100, 1), buy("b1", 100, 1))) == ["s1"]


@pytest.mark.parametrize("taken", ["s1", "s2", "s3"])
def test_a_cancel_takes_one_order_out_of_the_queue(book: Book, taken: str) -> None:
    place(book, sell("s1", 100, 1), sell("s2", 100, 2), sell("s3", 100, 4))
    lots = {"s1": 1, "s2": 2, "s3": 4}
    remaining = lots.pop(taken)
    previous = {"s1": None, "s2": "s1", "s3": "s2"}[taken]
    assert place(book, CancelOrder(taken, "ann")) == [
        OrderCancelled(4, taken, "ann", Side.SELL, 100, remaining, 7 - remaining, 2, previous)
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
    assert place(book, CancelOrder("b1", "ann")) == [
        OrderCancelled(3, "b1", "ann", Side.BUY, 100, 3, 0, 0, None)
    ]


def test_the_next_level_becomes_best_when_the_best_is_cancelled(book: Book) -> None:
    place(book, sell("s1", 100, 1), sell("s2", 101, 1), sell("s3", 102, 1))
    place(book, CancelOrder("s2", "ann"), CancelOrder("s1", "ann"))
    assert book.best_ask == 102
    assert book.depth() == ([], [Level(102, 1, 1)])


def test_an_emptied_level_can_be_used_again(book: Book) -> None:
    place(book, buy("b1", 100, 1), buy("b2", 99, 1), CancelOrder("b2", "ann"))
    assert place(book, buy("b3", 99, 4)) == [OrderRested(4, "b3", "ann", Side.BUY, 99, 4, 4, 1)]
    assert makers(place(book, market("m", Side.SELL, 9))) == ["b1", "b3"]
    assert (book.best_bid, len(book)) == (None, 0)


def test_refusals_name_their_reason_and_change_nothing(book: Book) -> None:
    place(book, buy("b1", 100, 5), sell("s1", 110, 5))
    before = book.state_hash()
    refused: dict[PlaceOrder | CancelOrder, RejectReason] = {
        CancelOrder("nobody", "ann"): RejectReason.ORDER_NOT_OPEN,
        CancelOrder("b1", "eve"): RejectReason.NOT_OWNER,
        buy("b1", 120, 1): RejectReason.DUPLICATE_ORDER_ID,
        market("s1", Side.BUY, 1): RejectReason.DUPLICATE_ORDER_ID,
    }
    for command, reason in refused.items():
        assert place(book, command) == [CommandRejected(command.order_id, command.client_id, reason)]
    assert book.state_hash() == before


def test_a_filled_order_is_no_longer_open(book: Book) -> None:
    place(book, buy("b1", 100, 5), market("m1", Side.SELL, 5))
    for order_id in ("b1", "m1"):
        events = place(book, CancelOrder(order_id, "ann"))
        assert events == [CommandRejected(order_id, "ann", RejectReason.ORDER_NOT_OPEN)]


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
]


@pytest.mark.parametrize(("message", "wrong"), IMPOSSIBLE, ids=[message for message, _ in IMPOSSIBLE])
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
    assert place(book, market("m", Side.BUY, 5)) == [
        Trade(3, "s1", "ann", "m", "tom", Side.BUY, 90, 5, 0, 0, 0)
    ]


def test_an_invalid_command_raises(book: Book) -> None:
    impossible: list[Any] = [None, "cancel", ("b1", "ann"), OrderRested(1, "b1", "ann", Side.BUY, 1, 1, 1, 1)]
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


def test_the_state_hash_covers_the_documented_text(book: Book) -> None:
    place(book, buy("b1", 99, 5), buy("b2", 98, 6), limit("b3", Side.BUY, 99, 7, "bob"))
    place(book, sell("s1", 101, 8), sell("s2", 100, 9), market("m", Side.SELL, 1))
    text = "sequence=6\nB 99 4 b1 ann\nB 99 7 b3 bob\nB 98 6 b2 ann\nS 100 9 s2 ann\nS 101 8 s1 ann\n"
    assert book.state_hash() == sha256(text.encode()).hexdigest()


def test_restore_puts_orders_back_in_their_priority(book: Book) -> None:
    for order_id in ("b1", "b2"):
        book.restore(order_id=order_id, client_id="ann", side=Side.BUY, price_ticks=99, remaining_lots=3)
    book.restore(order_id="s1", client_id="bob", side=Side.SELL, price_ticks=100, remaining_lots=4)
    assert book.sequence == 0
    assert book.depth() == ([Level(99, 6, 2)], [Level(100, 4, 1)])
    assert makers(place(book, market("m", Side.SELL, 6))) == ["b1", "b2"]


@pytest.mark.parametrize(
    ("order_id", "side", "price_ticks", "remaining_lots"),
    [
        ("b1", Side.BUY, 98, 1),
        ("s1", Side.BUY, 98, 1),
        ("x", Side.BUY, 101, 1),
        ("x", Side.BUY, 102, 1),
        ("x", Side.SELL, 99, 1),
        ("x", Side.SELL, 98, 1),
        ("x", Side.SELL, 0, 1),
        ("x", Side.SELL, 105, 0),
    ],
)
def test_restore_refuses_orders_that_no_book_can_hold(
    book: Book, order_id: str, side: Side, price_ticks: int, remaining_lots: int
) -> None:
    book.restore(order_id="b1", client_id="ann", side=Side.BUY, price_ticks=99, remaining_lots=3)
    book.restore(order_id="s1", client_id="ann", side=Side.SELL, price_ticks=101, remaining_lots=3)
    before = book.state_hash()
    with pytest.raises(ValueError, match=r"order_id=|price_ticks=|quantity_lots="):
        book.restore(
            order_id=order_id,
            client_id="ann",
            side=side,
            price_ticks=price_ticks,
            remaining_lots=remaining_lots,
        )
    assert book.state_hash() == before


@pytest.mark.parametrize("kind", [OrderBook, ReferenceBook])
def test_a_book_continues_from_the_given_sequence(kind: type[OrderBook] | type[ReferenceBook]) -> None:
    book = kind(sequence=41)
    assert place(book, buy("b1", 99, 5)) == [OrderRested(42, "b1", "ann", Side.BUY, 99, 5, 5, 1)]
    with pytest.raises(ValueError, match="sequence=-1"):
        kind(sequence=-1)
