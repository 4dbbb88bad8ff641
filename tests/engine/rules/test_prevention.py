"""What happens when a client would trade with itself: the rules S."""

import pytest

from matching.engine import (
    CancelOrder,
    CancelReason,
    MatchPrevented,
    OrderCancelled,
    RemainderCancelled,
    SelfTradePrevention,
    Side,
    Trade,
)
from tests.engine.orders import Book, buy, instructed, levels, place, sell, waiting
from tests.engine.rules.examples import (
    CANCEL_BOTH,
    CANCEL_MAKER,
    CANCEL_TAKER,
    DECREMENT,
    PREVENTIONS,
    STOP,
    ending,
    fills,
)

# --- self-trade prevention ------------------------------------------------------------------------------


def test_s1_with_none_a_client_trades_with_itself(book: Book) -> None:
    assert fills(place(book, sell("s1", 100, 5), buy("b1", 100, 2))) == [("s1", 100, 2)]


def test_s2_cancel_taker_ends_the_taker(book: Book) -> None:
    place(book, sell("s1", 100, 1, "bob"), sell("s2", 100, 5, "ann"))
    events = place(book, instructed(buy("b1", 100, 4), prevention=CANCEL_TAKER))
    assert (fills(events), ending(events)) == ([("s1", 100, 1)], (3, CancelReason.SELF_TRADE))
    assert levels(book) == ([], [(100, 5)])


def test_s3_cancel_maker_ends_the_maker(book: Book) -> None:
    own = sell("s1", 100, 5, "ann")
    place(book, own, sell("s2", 100, 5, "bob"))
    events = place(book, instructed(buy("b1", 100, 4), prevention=CANCEL_MAKER))
    assert events[0] == OrderCancelled(3, own, 5, 5, 1, None, CancelReason.SELF_TRADE)
    assert fills(events) == [("s2", 100, 4)]


def test_s4_cancel_both_ends_both(book: Book) -> None:
    own = sell("s1", 100, 5, "ann")
    place(book, own, sell("s2", 100, 5, "bob"))
    events = place(book, instructed(buy("b1", 100, 4), prevention=CANCEL_BOTH))
    assert events[0] == OrderCancelled(3, own, 5, 5, 1, None, CancelReason.SELF_TRADE)
    assert ending(events) == (4, CancelReason.SELF_TRADE)
    assert (len(events), levels(book)) == (2, ([], [(100, 5)]))


def test_s5_s6_decrement_takes_the_smaller_remainder_off_both(book: Book) -> None:
    own, other = sell("s1", 100, 3, "ann"), sell("s2", 100, 5, "bob")
    taker = instructed(buy("b1", 100, 4), prevention=DECREMENT)
    assert place(book, own, other, taker) == [
        MatchPrevented(3, own, taker, 3, 0, 5, 1),
        Trade(4, other, taker, 100, 1, 4, 4, 1),
    ]
    assert not book.contains("s1")


@pytest.mark.parametrize(("lots", "maker_lots"), [(3, 0), (2, 1)])
def test_s6_an_order_without_a_remainder_is_cancelled(book: Book, lots: int, maker_lots: int) -> None:
    own, taker = sell("s1", 100, 3), instructed(buy("b1", 100, lots), prevention=DECREMENT)
    level_orders = 1 if maker_lots else 0
    assert place(book, own, taker) == [
        MatchPrevented(2, own, taker, lots, maker_lots, maker_lots, level_orders),
        RemainderCancelled(taker, 0, CancelReason.SELF_TRADE),
    ]
    assert (len(book), book.contains("s1")) == (level_orders, maker_lots > 0)


def test_s7_quantity_is_the_sum_of_filled_prevented_and_remaining(book: Book) -> None:
    own = sell("s1", 100, 9)
    place(book, own, buy("b1", 100, 2, "bob"))
    taker = instructed(buy("b2", 100, 3), prevention=DECREMENT)
    assert place(book, taker)[0] == MatchPrevented(3, own, taker, 3, 4, 4, 1)
    assert place(book, CancelOrder("s1", "ann")) == [OrderCancelled(4, own, 4, 0, 0, None)]


@pytest.mark.parametrize("prevention", PREVENTIONS)
def test_s8_the_takers_instruction_decides(book: Book, prevention: SelfTradePrevention) -> None:
    place(book, instructed(sell("s1", 100, 5), prevention=prevention))
    assert fills(place(book, buy("b1", 100, 2))) == [("s1", 100, 2)]


def test_s9_prevention_is_decided_at_each_encounter(book: Book) -> None:
    place(book, sell("s1", 100, 1, "ann"), sell("s2", 100, 2, "bob"), sell("s3", 100, 1, "ann"))
    events = place(book, instructed(buy("b1", 100, 2), prevention=CANCEL_MAKER))
    assert [type(event) for event in events] == [OrderCancelled, Trade]
    assert (book.contains("s1"), book.contains("s3")) == (False, True)


def test_s10_a_prevented_match_is_no_trade(book: Book) -> None:
    place(book, waiting("w1", Side.BUY, STOP, 100, 1, client_id="bob"), sell("s1", 100, 5))
    events = place(book, instructed(buy("b1", 100, 5), prevention=DECREMENT))
    assert [type(event) for event in events] == [MatchPrevented, RemainderCancelled]
    assert (book.last_price_ticks, book.next_triggered) == (None, None)
