"""The rules of docs/orders.md that the engine decides: each has a test with its number.

The tests follow the examples of the document, and run on the engine and on the reference. ELSEWHERE
names the tests of all other rules.
"""

import re
from pathlib import Path

import pytest

from matching.engine import (
    INTEGER_MAX,
    AmendOrder,
    CancelOrder,
    CancelReason,
    Event,
    MatchPrevented,
    OrderCancelled,
    OrderEntered,
    OrderKind,
    OrderReduced,
    OrderRested,
    OrderTriggered,
    OrderWaits,
    OrderWithdrawn,
    PlaceOrder,
    RejectReason,
    RemainderCancelled,
    SelfTradePrevention,
    Side,
    TimeInForce,
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

_API, _BATCH = "tests/contract/", "tests/matching/batch/"
_TAKEOVER = (
    "tests/matching/commit/test_instructed_flows.py"
    "::test_a_takeover_between_any_two_batches_makes_no_difference"
)
_DUE = _BATCH + "instructions/test_deadlines.py::test_orders_expire_before_the_commands_of_a_batch"
_HALT = _API + "test_triggers.py::test_what_goes_on_during_a_halt_and_after_it"
_SWITCH = _API + "test_mass_cancels.py::test_a_switch_that_runs_out_cancels_all_orders_and_disarms_itself"

# The rules that the API or the worker decides, with their tests.
ELSEWHERE: dict[str, tuple[str, ...]] = {
    "P5": (_API + "test_orders.py::test_an_order_with_an_invalid_field_is_refused",),
    "F8": (_API + "test_instructions.py::test_every_combination_of_instructions_is_taken_or_refused",),
    "S11": (
        _API + "test_instructions.py::test_the_instruments_default_applies_to_orders_that_name_no_prevention",
    ),
    "A20": (_API + "test_amends.py::test_invalid_values_are_refused_before_the_orders_state_is_looked_at",),
    "C5": (
        _API + "test_mass_cancels.py::test_all_orders_of_a_client_are_cancelled",
        _BATCH + "test_pieces.py::test_others_orders_come_between_the_pieces_of_a_mass_cancel",
        "tests/matching/test_mass_cancels.py::test_all_partitions_cancel_the_orders_of_a_client",
    ),
    "E1": (_DUE,),
    "E2": (_DUE,),
    "E3": (_BATCH + "instructions/test_deadlines.py::test_due_work_is_done_in_the_order_of_its_times",),
    "E4": (_API + "test_triggers.py::test_an_order_expires_by_itself_and_keeps_its_fills", _TAKEOVER),
    "E5": (
        _BATCH + "instructions/test_deadlines.py::test_an_order_that_arrives_after_its_time_never_trades",
    ),
    "E6": (_API + "test_instructions.py::test_instructions_that_do_not_fit_are_named",),
    "D1": (_SWITCH,),
    "D2": (_API + "test_mass_cancels.py::test_a_switch_that_is_set_again_or_disarmed_does_not_run_out",),
    "D3": (_SWITCH,),
    "D4": (_TAKEOVER,),
    "D5": (_API + "test_stream_guards.py::test_all_orders_of_the_client_end_with_the_connection",),
    "D6": (_BATCH + "test_guards.py::test_no_command_of_a_connection_is_carried_out_after_the_end",),
    "D7": (_API + "test_stream_guards.py::test_each_connection_of_a_client_has_a_guard_of_its_own",),
    "D8": (_API + "test_stream_guards.py::test_a_client_that_is_not_guarded_any_more_keeps_its_orders",),
    "D9": (_BATCH + "test_guards.py::test_guards_outlive_the_worker",),
    "H1": (_HALT, _API + "test_orders.py::test_an_order_is_rejected_if_only_the_worker_knows_of_a_halt"),
    "H3": (_HALT,),
    "H4": (_HALT,),
    "B5": (
        _API + "test_bounds.py::test_orders_of_a_client_with_too_many_open_orders_are_rejected",
        _API + "test_triggers.py::test_waiting_orders_have_a_bound_of_their_own",
    ),
    "B6": (_BATCH + "test_bounds.py::test_a_side_has_a_limit_of_levels_and_some_more_for_better_prices",),
    "B8": (_API + "test_fills.py::test_an_order_shows_its_last_thousand_trades_and_the_list_of_fills_all",),
    "B9": (_BATCH + "instructions/test_amends.py::test_an_amend_may_not_open_a_level_beyond_the_limit",),
}

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "orders.md"

STOP, TAKE_PROFIT = OrderKind.STOP, OrderKind.TAKE_PROFIT
STOP_LIMIT, TAKE_PROFIT_LIMIT = OrderKind.STOP_LIMIT, OrderKind.TAKE_PROFIT_LIMIT
GTC, GTD, IOC, FOK = TimeInForce.GTC, TimeInForce.GTD, TimeInForce.IOC, TimeInForce.FOK
CANCEL_TAKER, CANCEL_MAKER = SelfTradePrevention.CANCEL_TAKER, SelfTradePrevention.CANCEL_MAKER
CANCEL_BOTH, DECREMENT = SelfTradePrevention.CANCEL_BOTH, SelfTradePrevention.DECREMENT
PREVENTIONS = (CANCEL_TAKER, CANCEL_MAKER, CANCEL_BOTH, DECREMENT)


def trade_at(book: Book, price_ticks: int) -> list[Event]:
    """Let two clients trade at this price, and return the taker's events."""
    return place(book, sell("printed", price_ticks, 1, "pat"), market("print", Side.BUY, 1, "pam"))


def entered(events: list[Event]) -> list[str]:
    return [event.order.order_id for event in events if isinstance(event, OrderEntered)]


def fills(events: list[Event]) -> list[tuple[str, int, int]]:
    """Return maker, price and quantity of each trade."""
    return [
        (event.maker.order_id, event.price_ticks, event.quantity_lots)
        for event in events
        if isinstance(event, Trade)
    ]


def ending(events: list[Event]) -> tuple[int, CancelReason]:
    """Return remaining lots and reason of the order that ends with these events."""
    last = next(event for event in reversed(events) if not isinstance(event, OrderTriggered))
    assert isinstance(last, RemainderCancelled)
    return last.remaining_lots, last.reason


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


# --- the document ---------------------------------------------------------------------------------------


def test_each_rule_has_a_test_or_is_listed_as_tested_elsewhere() -> None:
    numbers = re.findall(r"^\| ([A-Z]\d+) \|", DOCUMENT.read_text(), flags=re.MULTILINE)
    assert len(numbers) == len(set(numbers)) > 80
    tested: set[str] = set()
    for name in globals():
        if match := re.match(r"test_((?:[a-z]\d+_)+)", name):
            tested |= {number.upper() for number in match[1].rstrip("_").split("_")}
    assert tested & set(ELSEWHERE) == set()
    assert tested | set(ELSEWHERE) == set(numbers)


def test_the_tests_elsewhere_exist() -> None:
    for file, _, function in {test.partition("::") for tests in ELSEWHERE.values() for test in tests}:
        assert re.search(rf"^(async )?def {function}\(", (ROOT / file).read_text(), flags=re.MULTILINE), (
            function
        )


def test_the_document_has_each_reason_and_refers_to_rules_that_exist() -> None:
    text = DOCUMENT.read_text()
    _, _, section = text.partition("## Reasons")
    rows = re.findall(r"^\| (`.*`) \| .* \| (.*) \|$", section, flags=re.MULTILINE)
    reasons = {reason for names, _ in rows for reason in re.findall(r"`(\w+)`", names)}
    refusals = {RejectReason.WOULD_CROSS, RejectReason.WOULD_TRIGGER, RejectReason.INSTRUMENT_HALTED}
    assert reasons == {*map(str, CancelReason), *map(str, refusals)}
    numbers = set(re.findall(r"^\| ([A-Z]\d+) \|", text, flags=re.MULTILINE))
    assert set(re.findall(r"\b([A-Z]\d+)\b", text)) <= numbers
