"""What all order books have in common: the hash of their state, and how they are restored.

Each test runs on the engine and on the reference.
"""

from hashlib import sha256

import pytest

from matching.engine import (
    Level,
    OrderBook,
    OrderKind,
    OrderRested,
    PlaceOrder,
    RejectReason,
    SelfTradePrevention,
    Side,
    TimeInForce,
)
from tests.engine.orders import (
    Book,
    buy,
    instructed,
    limit,
    makers,
    market,
    place,
    refused,
    sell,
    triggered,
    waiting,
)
from tests.engine.reference import ReferenceBook


def test_the_state_hash_covers_the_documented_text(book: Book) -> None:
    place(book, buy("b1", 99, 5), buy("b2", 98, 6), limit("b3", Side.BUY, 99, 7, "bob"))
    place(book, sell("s1", 101, 8), sell("s2", 100, 9), market("m", Side.SELL, 1))
    lines = ["sequence=6", "B 99 4 b1 ann", "B 99 7 b3 bob", "B 98 6 b2 ann"]
    lines += ["S 100 9 s2 ann", "S 101 8 s1 ann"]
    assert book.state_hash() == hash_of(lines)


def test_the_state_hash_covers_instructions_and_waiting_orders(book: Book) -> None:
    gtd = instructed(buy("b1", 99, 5), TimeInForce.GTD, post_only=True)
    place(book, gtd, instructed(sell("s1", 101, 8), prevention=SelfTradePrevention.DECREMENT))
    assert book.state_hash() == hash_of(["sequence=2", "B 99 5 b1 ann 1 1 0", "S 101 8 s1 ann 0 0 4"])
    place(
        book, waiting("w1", Side.BUY, OrderKind.STOP, 110, 1), waiting("w2", Side.SELL, OrderKind.STOP, 90, 2)
    )
    place(
        book, waiting("w3", Side.BUY, OrderKind.STOP_LIMIT, 101, 3, price_ticks=105), market("m", Side.BUY, 2)
    )
    place(book, instructed(waiting("w4", Side.SELL, OrderKind.TAKE_PROFIT, 107, 4), TimeInForce.FOK))
    lines = ["sequence=8", "B 99 5 b1 ann 1 1 0", "S 101 6 s1 ann 0 0 4", "last=101"]
    lines += ["W 3 1 107 0 4 w4 ann 3 0 0", "W 2 0 110 0 1 w1 ann", "W 2 1 90 0 2 w2 ann"]
    lines += ["T 4 0 101 105 3 w3 ann"]
    assert book.state_hash() == hash_of(lines)


def hash_of(lines: list[str]) -> str:
    return sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()


def test_restore_puts_orders_back_in_their_priority(book: Book) -> None:
    for order_id in ("b1", "b2"):
        book.restore(buy(order_id, 99, 5), 3)
    book.restore(sell("s1", 100, 4), 4)
    assert book.sequence == 0
    assert book.depth() == ([Level(99, 6, 2)], [Level(100, 4, 1)])
    assert makers(place(book, market("m", Side.SELL, 6))) == ["b1", "b2"]


def test_restore_puts_waiting_and_triggered_orders_back(book: Book) -> None:
    book.restore(sell("s1", 100, 9), 9)
    for order_id in ("t2", "t1"):
        book.restore_waiting(waiting(order_id, Side.BUY, OrderKind.STOP, 90, 1), is_triggered=True)
    for order_id in ("w2", "w1"):
        book.restore_waiting(waiting(order_id, Side.BUY, OrderKind.STOP, 100, 1))
    assert (book.sequence, len(book), book.waiting_count, book.contains("t2")) == (0, 1, 4, True)
    events = book.enter_triggered()
    assert (makers(events), triggered(events)) == (["s1"], ["w2", "w1"])
    assert book.next_triggered == waiting("t1", Side.BUY, OrderKind.STOP, 90, 1)


@pytest.mark.parametrize(
    ("order", "remaining_lots"),
    [
        (buy("b1", 98, 1), 1),
        (buy("s1", 98, 1), 1),
        (buy("w1", 98, 1), 1),
        (buy("x", 101, 1), 1),
        (buy("x", 102, 1), 1),
        (sell("x", 99, 1), 1),
        (sell("x", 98, 1), 1),
        (sell("x", 0, 1), 1),
        (sell("x", 105, 1), 0),
        (sell("x", 105, 1), 2),
        (market("x", Side.SELL, 1), 1),
        (waiting("x", Side.BUY, OrderKind.STOP, 98, 1), 1),
    ],
)
def test_restore_refuses_orders_that_no_book_can_hold(
    book: Book, order: PlaceOrder, remaining_lots: int
) -> None:
    book.restore(buy("b1", 99, 3), 3)
    book.restore(sell("s1", 101, 3), 3)
    book.restore_waiting(waiting("w1", Side.BUY, OrderKind.STOP, 110, 1))
    before = book.state_hash()
    with pytest.raises(ValueError, match=r"order_id=|price_ticks=|remaining_lots="):
        book.restore(order, remaining_lots)
    assert book.state_hash() == before


@pytest.mark.parametrize(
    "order",
    [
        buy("x", 98, 1),
        market("x", Side.BUY, 1),
        waiting("b1", Side.BUY, OrderKind.STOP, 98, 1),
        waiting("w1", Side.BUY, OrderKind.STOP, 98, 1),
        waiting("x", Side.BUY, OrderKind.STOP, 0, 1),
    ],
)
def test_restore_waiting_refuses_orders_that_can_not_wait(book: Book, order: PlaceOrder) -> None:
    book.restore(buy("b1", 99, 3), 3)
    book.restore_waiting(waiting("w1", Side.BUY, OrderKind.STOP, 110, 1))
    before = book.state_hash()
    for is_triggered in (False, True):
        with pytest.raises(ValueError, match=r"order_id=|kind=|trigger_price_ticks="):
            book.restore_waiting(order, is_triggered=is_triggered)
    assert book.state_hash() == before


@pytest.mark.parametrize("kind", [OrderBook, ReferenceBook])
def test_a_book_continues_from_the_given_sequence_and_last_price(
    kind: type[OrderBook] | type[ReferenceBook],
) -> None:
    book = kind(sequence=41, last_price_ticks=100)
    stop = waiting("w1", Side.BUY, OrderKind.STOP, 100, 5)
    assert place(book, stop) == refused(stop, RejectReason.WOULD_TRIGGER)
    assert place(book, buy("b1", 99, 5)) == [OrderRested(42, buy("b1", 99, 5), 5, 5, 1)]
    with pytest.raises(ValueError, match="sequence=-1"):
        kind(sequence=-1)
    with pytest.raises(ValueError, match="last_price_ticks=0"):
        kind(last_price_ticks=0)
