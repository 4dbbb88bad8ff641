"""Waiting orders and what triggers them, as the rows of orders show it."""

from typing import Any

import pytest
from pytest_django.fixtures import Settings

from orders.models import Order, OrderEvent, Trade
from tests.matching.batch.instructions.rows import Run, events, outcome, priority, terms, trade_at
from tests.matching.flows import STARTED_AT
from tests.matching.partition import Partition, place, stop


def test_a_triggered_limit_order_rests(run: Run) -> None:
    order = stop("buy", 110, 10, 105)
    run(order, *trade_at(110))
    assert (outcome(order), terms(order)) == (("open", None, 0, 0), (105, 10, 110))
    assert (priority(order), events(order)) == (5, [("triggered", 1, 105, 10, 110)])
    assert Order.objects.get(order_id=order.order_id).triggered_at == STARTED_AT
    run(place("sell", 105, 10, client_id="bob"))
    assert outcome(order) == ("filled", None, 10, 0)


@pytest.mark.parametrize(
    ("lots", "expected"), [(10, ("filled", None, 10, 0)), (11, ("cancelled", "no_liquidity", 10, 0))]
)
def test_a_triggered_market_order_trades(run: Run, lots: int, expected: tuple[Any, ...]) -> None:
    order = stop("buy", 110, lots)
    run(place("sell", 111, 10, client_id="bob"), order, *trade_at(110))
    assert outcome(order) == expected
    assert (priority(order), events(order)) == (5, [("triggered", 2, None, lots, 110)])


@pytest.mark.parametrize(
    ("others", "reason"),
    [
        ({"price_ticks": 115, "post_only": True}, "would_cross"),
        ({"price_ticks": 115, "time_in_force": "fok"}, "unfilled_fok"),
        ({"price_ticks": 110, "time_in_force": "ioc"}, "unfilled_ioc"),
        ({"time_in_force": "fok"}, "unfilled_fok"),
        ({"self_trade_prevention": "cancel_taker"}, "self_trade"),
    ],
)
def test_the_other_instructions_apply_when_an_order_is_triggered(
    run: Run, others: dict[str, Any], reason: str
) -> None:
    order = stop("buy", 110, 100, client_id="bob", **others)
    run(order, place("sell", 111, 10, client_id="bob"), *trade_at(110))
    assert outcome(order) == ("cancelled", reason, 0, 0)


def test_triggered_orders_enter_in_the_order_of_the_contract(run: Run) -> None:
    """By trade. For one trade: upwards by trigger price, then downwards, and by entry."""
    orders = {
        "above 111": stop("buy", 111, 1, 50),
        "above 110, late": stop("buy", 110, 1, 50),
        "below 130": stop("sell", 130, 1, 500),
        "below 140": place("buy", 50, 1, order_type="take_profit_limit", trigger_price_ticks=140),
        "above 110, later": stop("buy", 110, 1, 50),
        "above 112": stop("buy", 112, 1, 50),
    }
    run(*orders.values(), place("sell", 111, 1, client_id="bob"), place("sell", 112, 1, client_id="bob"))
    run(place("buy", 112, 2, client_id="tom"))
    triggered = OrderEvent.objects.filter(kind="triggered").order_by("sequence")
    names = {order.order_id: name for name, order in orders.items()}
    assert [names[str(event.order_id)] for event in triggered] == [
        *("above 110, late", "above 110, later", "above 111", "below 140", "below 130", "above 112")
    ]
    priorities = [priority(orders[names[str(event.order_id)]]) or 0 for event in triggered]
    assert priorities == sorted(priorities)


def test_what_a_triggered_order_triggers_comes_after_all_others(run: Run) -> None:
    run(place("sell", 120, 5, client_id="bob"), place("sell", 130, 5, client_id="bob"))
    first, second, third = stop("buy", 110, 7), stop("buy", 110, 1), stop("buy", 120, 1)
    run(first, second, third, *trade_at(110))
    makers = {row.order_id: row for row in Order.objects.filter(client_id="bob")}
    trades = Trade.objects.exclude(taker_client_id="tom").order_by("sequence")
    takers = [(str(one.taker_order_id), int(makers[one.maker_order_id].price * 100)) for one in trades]
    assert takers == [
        (first.order_id, 120),
        (first.order_id, 130),
        (second.order_id, 130),
        (third.order_id, 130),
    ]


@pytest.mark.parametrize("is_known", [False, True], ids=["no trade yet", "a trade"])
def test_a_stop_whose_condition_holds_is_rejected(run: Run, partition: Partition, is_known: bool) -> None:
    if is_known:
        run(*trade_at(110))
    partition.reload()  # the last price then comes from the database
    order = stop("buy", 110, 10)
    run(order)
    assert outcome(order)[:2] == (("rejected", "would_trigger") if is_known else ("pending", None))


@pytest.mark.parametrize(
    ("bounds", "reason"),
    [
        ({"INSTRUMENT_OPEN_ORDERS_MAX": 3}, "too_many_orders"),
        ({"BOOK_LEVELS_PER_SIDE_MAX": 2, "BOOK_LEVELS_IMPROVING_MAX": 0}, "too_many_levels"),
    ],
)
def test_a_triggered_order_without_room_is_cancelled(
    run: Run, settings: Settings, bounds: dict[str, int], reason: str
) -> None:
    waiting, market = stop("buy", 110, 5, 47), stop("buy", 110, 5)
    run(waiting, market, place("buy", 49, 5), place("buy", 48, 5), place("sell", 110, 9, client_id="bob"))
    for name, value in bounds.items():
        setattr(settings, name, value)
    run(place("buy", 0, 1, client_id="tom"))
    assert outcome(waiting) == ("cancelled", reason, 0, 0)
    assert outcome(market) == ("filled", None, 5, 0)


@pytest.mark.parametrize("time_in_force", ["ioc", "fok"])
def test_orders_that_never_rest_need_no_room(run: Run, settings: Settings, time_in_force: str) -> None:
    settings.INSTRUMENT_OPEN_ORDERS_MAX = 1
    order = place("buy", 110, 5, client_id="tom", time_in_force=time_in_force)
    refused = place("buy", 110, 5, client_id="tom")
    run(place("sell", 110, 9, client_id="bob"), refused, order)
    assert (outcome(order), outcome(refused)[1]) == (("filled", None, 5, 0), "too_many_orders")


def test_waiting_orders_are_limited_like_resting_ones(run: Run, settings: Settings) -> None:
    settings.INSTRUMENT_OPEN_ORDERS_MAX = 2
    orders = [stop("buy", 110, 5), stop("buy", 110, 5), stop("buy", 110, 5), place("buy", 50, 5)]
    run(*orders)
    assert [outcome(order)[0] for order in orders] == ["pending", "pending", "rejected", "open"]
