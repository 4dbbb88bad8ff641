"""Amends, as the rows of orders show them."""

from typing import Any

import msgspec
import pytest
from pytest_django.fixtures import Settings

from base.times import unix_milliseconds
from orders.models import Order, Trade
from tests.matching.batch.instructions.rows import Run, events, gtd, outcome, priority, replies, terms
from tests.matching.flows import after
from tests.matching.partition import Partition, amend, cancel, contents, place, stop


def test_a_reduced_order_keeps_its_place(run: Run) -> None:
    first, second = place("buy", 100, 10), place("buy", 100, 10)
    run(first, second, amend(first, quantity_lots=4), place("sell", 100, 5, client_id="bob"))
    assert outcome(first) == ("filled", None, 4, 0)
    assert outcome(second) == ("partially_filled", None, 1, 0)
    assert (terms(first), priority(first)) == ((100, 4, None), 1)
    assert events(first) == [("reduced", None, 100, 10, None)]


@pytest.mark.parametrize("change", [{"quantity_lots": 11}, {"price_ticks": 99}, {"price_ticks": 101}])
def test_any_other_amend_lets_the_order_enter_again(run: Run, change: dict[str, int]) -> None:
    order, other = place("buy", 100, 10), place("buy", 100, 10)
    run(order, other, amend(order, **change), amend(order, price_ticks=100))
    assert outcome(order) == ("open", None, 0, 0)
    assert terms(order) == (100, change.get("quantity_lots", 10), None)
    assert priority(order) == (4 if "quantity_lots" in change else 6)
    run(place("sell", 100, 10, client_id="bob"))
    assert (outcome(other)[0], outcome(order)[0]) == ("filled", "open")


def test_an_amended_order_that_crosses_trades_and_rests_with_its_remainder(run: Run) -> None:
    maker, order = place("sell", 103, 4, client_id="bob"), place("buy", 100, 10, **gtd(60))
    run(maker, order, amend(order, price_ticks=105, quantity_lots=12))
    assert outcome(maker) == ("filled", None, 4, 0)
    assert outcome(order) == ("partially_filled", None, 4, 0)
    assert (terms(order), priority(order)) == ((105, 12, None), 5)
    assert events(order) == [("withdrawn", 2, 100, 10, None)]
    trade = Trade.objects.get()
    assert (int(trade.price * 100), str(trade.taker_order_id), trade.taker_client_id) == (
        103,
        order.order_id,
        "client-A",
    )
    run(now=after(60))
    assert outcome(order) == ("cancelled", "expired", 4, 0)


def test_an_amended_order_may_be_filled_at_once(run: Run, partition: Partition) -> None:
    order = place("buy", 100, 10, **gtd(60))
    run(order, place("sell", 103, 10, client_id="bob"), amend(order, price_ticks=103))
    assert outcome(order) == ("filled", None, 10, 0)
    assert (priority(order), events(order)) == (1, [("withdrawn", 1, 100, 10, None)])
    assert partition.state.deadlines.next_due(2**60) is None


def test_an_amended_orders_quantity_counts_what_is_filled(run: Run) -> None:
    order = place("buy", 100, 10)
    run(order, place("sell", 100, 6, client_id="bob"))
    assert replies(run(amend(order, quantity_lots=6))) == [("amend_refused", "quantity_filled")]
    assert terms(order) == (100, 10, None)
    run(amend(order, quantity_lots=7), amend(order, price_ticks=101), place("sell", 0, 5, client_id="bob"))
    assert outcome(order) == ("filled", None, 7, 0)


def test_several_amends_of_one_order_leave_an_event_each(run: Run) -> None:
    order = place("buy", 100, 10, **gtd(60))
    changes: list[dict[str, int]] = [
        {"quantity_lots": 8},
        {"price_ticks": 99, "quantity_lots": 9},
        {"expires_at_ms": unix_milliseconds(after(30))},
        {"quantity_lots": 5},
        {"quantity_lots": 5},  # changes nothing
        {"price_ticks": 98, "expires_at_ms": unix_milliseconds(after(40))},
    ]
    run(order, *(amend(order, **change) for change in changes))
    assert (terms(order), priority(order)) == ((98, 5, None), 7)
    assert events(order) == [
        ("reduced", None, 100, 10, None),
        ("withdrawn", 1, 100, 8, None),
        ("reduced", None, 99, 9, None),
        ("withdrawn", 4, 99, 5, None),
    ]
    assert Order.objects.get().expires_at == after(40)
    run(now=after(39))
    assert outcome(order)[0] == "open"
    run(now=after(40))
    assert outcome(order)[:2] == ("cancelled", "expired")


def test_a_waiting_order_is_amended(run: Run) -> None:
    first, second = stop("buy", 110, 10, 120), stop("buy", 110, 10)
    run(first, second, amend(first, quantity_lots=8), amend(second, trigger_price_ticks=111))
    assert (terms(first), priority(first), events(first)) == (
        (120, 8, 110),
        1,
        [("amended", None, 120, 10, 110)],
    )
    assert (terms(second), priority(second), events(second)) == (
        (None, 10, 111),
        4,
        [("amended", 2, None, 10, 110)],
    )
    run(amend(first, price_ticks=119), amend(first, trigger_price_ticks=111))
    assert (outcome(first), terms(first), priority(first)) == (("pending", None, 0, 0), (119, 8, 111), 6)
    run(place("sell", 111, 1, client_id="bob"), place("buy", 111, 1, client_id="tom"))
    assert priority(second) == 9  # it came first at this trigger price
    assert events(first)[-1] == ("triggered", 6, 119, 8, 111)


REFUSED_AMENDS: dict[str, tuple[dict[str, Any], dict[str, int]]] = {
    "a price of a market kind": ({"order_type": "stop"}, {"price_ticks": 100}),
    "a trigger price of a resting order": ({}, {"trigger_price_ticks": 100}),
    "a time without gtd": ({}, {"expires_at_ms": unix_milliseconds(after(9))}),
}


@pytest.mark.parametrize("case", REFUSED_AMENDS)
def test_an_amend_that_does_not_apply_is_refused(run: Run, partition: Partition, case: str) -> None:
    others, change = REFUSED_AMENDS[case]
    order = stop("buy", 110, 10) if others else place("buy", 100, 10)
    run(order)
    before = contents(partition.state)
    assert (
        replies(run(amend(order, **change), amend(order, quantity_lots=5, **change)))
        == [("amend_refused", "not_applicable")] * 2
    )
    assert contents(partition.state) == before
    assert terms(order)[1] == 10


def test_an_amend_that_would_cross_or_trigger_is_refused(run: Run) -> None:
    run(place("sell", 105, 10, client_id="bob"), place("buy", 105, 1, client_id="tom"))
    maker, waiting = place("buy", 100, 10, post_only=True), stop("buy", 110, 10)
    batches = run(maker, waiting, amend(maker, price_ticks=105), amend(waiting, trigger_price_ticks=105))
    assert replies(batches) == [("amend_refused", "would_cross"), ("amend_refused", "would_trigger")]
    assert (terms(maker), terms(waiting)) == ((100, 10, None), (None, 10, 110))


def test_a_halted_instrument_takes_only_amends_that_reduce(run: Run, partition: Partition) -> None:
    order = place("buy", 100, 10, **gtd(60))
    run(order)
    market = partition.books["BTC-USD"]
    market.instrument = msgspec.structs.replace(market.instrument, halted=True)
    refused: list[dict[str, int]] = [
        {"quantity_lots": 11},
        {"price_ticks": 99},
        {"quantity_lots": 9, "expires_at_ms": unix_milliseconds(after(70))},
        {"expires_at_ms": unix_milliseconds(after(-1))},
    ]
    batches = run(*(amend(order, **change) for change in refused))
    assert replies(batches) == [("amend_refused", "instrument_halted")] * len(refused)
    run(amend(order, quantity_lots=9), amend(order, quantity_lots=9, price_ticks=100))
    assert (terms(order), outcome(order)) == ((100, 9, None), ("open", None, 0, 0))
    late = stop("buy", 110, 10)
    run(late, now=after(60))
    assert outcome(late)[:2] == ("rejected", "instrument_halted")
    assert outcome(order)[:2] == ("cancelled", "expired")


def test_an_amend_whose_time_has_passed_ends_the_order(run: Run) -> None:
    """The order does not trade any more, at its old price or at its new one."""
    run(place("sell", 105, 10, client_id="bob"))
    resting, waiting = place("buy", 100, 10, **gtd(60)), stop("buy", 110, 10, 105, **gtd(60))
    past = unix_milliseconds(after(-1))
    run(
        *(resting, waiting),
        amend(resting, price_ticks=105, expires_at_ms=past),
        amend(waiting, quantity_lots=3, expires_at_ms=past),
    )
    assert outcome(resting) == outcome(waiting) == ("cancelled", "expired", 0, 0)
    assert (terms(resting), terms(waiting)) == ((100, 10, None), (105, 10, 110))
    assert set(Order.objects.exclude(expires_at=None).values_list("expires_at", flat=True)) == {after(-1)}


def test_an_order_of_another_client_or_one_that_has_ended_is_not_amended(run: Run) -> None:
    order = place("buy", 100, 10)
    foreign = msgspec.structs.replace(amend(order, quantity_lots=5), client_id="eve")
    batches = run(order, foreign, cancel(order), amend(order, quantity_lots=5))
    assert replies(batches) == [("not_open", "not_owner"), ("not_open", "")]
    assert terms(order) == (100, 10, None)


def test_an_amend_may_not_open_a_level_beyond_the_limit(run: Run, settings: Settings) -> None:
    settings.BOOK_LEVELS_PER_SIDE_MAX, settings.BOOK_LEVELS_IMPROVING_MAX = 2, 0
    order = place("buy", 100, 10)
    batches = run(order, place("buy", 99, 10), amend(order, price_ticks=98), amend(order, price_ticks=99))
    assert replies(batches) == [("amend_refused", "too_many_levels")]
    assert terms(order) == (99, 10, None)
