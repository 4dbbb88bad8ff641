"""What instructions, amends and triggers do to the rows of orders.

Each test runs all commands in one batch, and each command in a batch of its own. The rows must be the
same: an order of the same batch is written once, an order of an earlier batch is changed by difference.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import msgspec
import pytest
from pytest_django.fixtures import Settings

from base.times import unix_milliseconds
from instruments.directory import TradedInstrument
from matching.batch.batch import Batch
from matching.recovery import load_partition
from orders.messages import Command, PlaceCommand, ReplyKind
from orders.models import CancelAfter, Order, OrderEvent, Trade
from tests.matching.explained import unexplained
from tests.matching.flows import STARTED_AT, after
from tests.matching.partition import (
    Partition,
    amend,
    cancel,
    cancel_after,
    cancel_all,
    contents,
    place,
    stop,
)

LOT = 10**8  # lots of one unit
Run = Callable[..., list[Batch]]


def gtd(seconds: float) -> dict[str, Any]:
    """Return the instructions of an order that expires so long after the start."""
    return {"time_in_force": "gtd", "expires_at_ms": unix_milliseconds(after(seconds))}


@pytest.fixture(params=["one batch", "a batch each"])
def together(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "one batch")


@pytest.fixture
def partition(instruments: dict[str, TradedInstrument]) -> Iterator[Partition]:
    """Yield partition 0. At the end, what is stored must explain the books and give them again."""
    partition = Partition()
    yield partition
    assert contents(load_partition(0)) == contents(partition.state)
    assert unexplained("BTC-USD") == {}


@pytest.fixture
def run(partition: Partition, together: bool) -> Run:
    def run(*commands: Command, now: datetime = STARTED_AT) -> list[Batch]:
        batches = partition.run_all(*commands, now=now, commands_max=256 if together else 1)
        return [batch for batch, _ in batches]

    return run


def outcome(order: PlaceCommand) -> tuple[str, str | None, int, int]:
    """Return status, reason, filled lots and prevented lots of a stored order."""
    row = Order.objects.get(order_id=order.order_id)
    return row.status, row.reason, int(row.filled_quantity * LOT), int(row.prevented_quantity * LOT)


def terms(order: PlaceCommand) -> tuple[int | None, int, int | None]:
    """Return price, quantity and trigger price of a stored order, in ticks and lots."""
    row = Order.objects.get(order_id=order.order_id)
    price, trigger = (None if one is None else int(one * 100) for one in (row.price, row.trigger_price))
    return price, int(row.quantity * LOT), trigger


def events(order: PlaceCommand) -> list[tuple[Any, ...]]:
    """Return kind, priority, price, quantity and trigger price of an order's events."""
    found = []
    for event in OrderEvent.objects.filter(order_id=order.order_id).order_by("sequence"):
        price, trigger = (
            None if one is None else int(one * 100) for one in (event.price, event.trigger_price)
        )
        found.append((event.kind, event.priority, price, int(event.quantity * LOT), trigger))
    return found


def priority(order: PlaceCommand) -> int | None:
    return Order.objects.get(order_id=order.order_id).priority


def replies(batches: list[Batch]) -> list[tuple[str, str]]:
    """Return the replies that need no commit."""
    return [(reply.kind.value, reply.body.decode()) for batch in batches for reply in batch.replies["tests"]]


# --- Amends -----------------------------------------------------------------------------------------------


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


# --- Triggers ---------------------------------------------------------------------------------------------


def trade_at(price_ticks: int) -> list[Command]:
    """Return two orders that trade one lot at a price."""
    return [place("sell", price_ticks, 1, client_id="bob"), place("buy", price_ticks, 1, client_id="tom")]


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


# --- Self-trade prevention --------------------------------------------------------------------------------


def own(side: str, price_ticks: int, lots: int, prevention: str, **others: Any) -> PlaceCommand:
    return place(side, price_ticks, lots, client_id="ann", self_trade_prevention=prevention, **others)


@pytest.mark.parametrize(
    ("prevention", "maker", "taker"),
    [
        ("none", ("partially_filled", None, 6, 0), ("filled", None, 8, 0)),
        ("cancel_taker", ("open", None, 0, 0), ("cancelled", "self_trade", 2, 0)),
        ("cancel_maker", ("cancelled", "self_trade", 0, 0), ("partially_filled", None, 2, 0)),
        ("cancel_both", ("cancelled", "self_trade", 0, 0), ("cancelled", "self_trade", 2, 0)),
        ("decrement", ("open", None, 0, 6), ("cancelled", "self_trade", 2, 6)),
    ],
)
def test_self_trade_prevention(run: Run, prevention: str, maker: Any, taker: Any) -> None:
    resting, incoming = own("sell", 101, 10, "none"), own("buy", 101, 8, prevention)
    run(place("sell", 100, 2, client_id="bob"), resting, incoming)
    assert (outcome(resting), outcome(incoming)) == (maker, taker)
    assert Trade.objects.count() == (2 if prevention == "none" else 1)
    assert len(events(resting)) == (prevention == "decrement")


def test_a_decremented_maker_without_a_remainder_is_cancelled(run: Run) -> None:
    maker, taker = own("sell", 101, 4, "none", **gtd(60)), own("buy", 101, 10, "decrement")
    run(maker, taker)
    assert outcome(maker) == ("cancelled", "self_trade", 0, 4)
    assert outcome(taker) == ("open", None, 0, 4)
    event = OrderEvent.objects.get()
    assert (event.kind, int((event.prevented_quantity or 0) * LOT)) == ("prevented", 4)
    run(now=after(60))


@pytest.mark.parametrize("how", ["as a maker", "as a taker", "after a trigger"])
def test_an_order_that_was_partly_prevented_and_then_filled_is_cancelled(run: Run, how: str) -> None:
    run(*trade_at(90))
    order = own("buy", 101, 10, "decrement")
    if how == "as a maker":
        run(order, own("sell", 101, 4, "decrement"), place("sell", 101, 6, client_id="bob"))
    elif how == "as a taker":
        run(own("sell", 101, 4, "none"), place("sell", 101, 6, client_id="bob"), order)
    else:
        order = stop("buy", 95, 10, client_id="ann", self_trade_prevention="decrement")
        run(own("sell", 101, 4, "none"), place("sell", 101, 6, client_id="bob"), order, *trade_at(95))
    assert outcome(order) == ("cancelled", "self_trade", 6, 4)


def test_an_amended_order_may_be_prevented_too(run: Run) -> None:
    maker, order = own("sell", 105, 4, "none"), own("buy", 100, 10, "decrement")
    run(maker, order, amend(order, price_ticks=105), amend(order, quantity_lots=5))
    assert (outcome(order), terms(order)) == (("open", None, 0, 4), (105, 5, None))
    assert replies(run(amend(order, quantity_lots=4))) == [("amend_refused", "quantity_filled")]
    run(place("sell", 105, 1, client_id="bob"))
    assert outcome(order) == ("cancelled", "self_trade", 1, 4)


def test_an_amended_order_that_meets_its_client_is_cancelled_as_a_taker(run: Run) -> None:
    maker, order = own("sell", 105, 4, "none"), own("buy", 100, 10, "cancel_taker")
    run(maker, order, amend(order, price_ticks=105))
    assert (outcome(maker), outcome(order)) == (("open", None, 0, 0), ("cancelled", "self_trade", 0, 0))


# --- Time -------------------------------------------------------------------------------------------------


def test_orders_expire_before_the_commands_of_a_batch(run: Run) -> None:
    resting, waiting = place("sell", 100, 10, **gtd(5)), stop("buy", 110, 5, 110, **gtd(5))
    later = place("sell", 101, 10, **gtd(5.001))
    run(resting, waiting, later)
    taker = place("buy", 101, 10, client_id="bob")
    run(taker, now=after(5))
    assert outcome(resting) == outcome(waiting) == ("cancelled", "expired", 0, 0)
    assert (outcome(later), outcome(taker)) == (("filled", None, 10, 0), ("filled", None, 10, 0))


@pytest.mark.parametrize("seconds", [-60, 0])
def test_an_order_that_arrives_after_its_time_never_trades(run: Run, seconds: float) -> None:
    order, waiting = place("buy", 100, 10, **gtd(seconds)), stop("buy", 110, 10, 110, **gtd(seconds))
    run(place("sell", 100, 10, client_id="bob"), order, waiting)
    assert outcome(order) == outcome(waiting) == ("cancelled", "expired", 0, 0)
    assert (priority(order), priority(waiting)) == (None, None)


def test_due_work_is_done_in_the_order_of_its_times(run: Run) -> None:
    """Expiries come before switches of the same time, and orders expire by entry."""
    orders = [
        place("buy", 100, 1, **gtd(30)),
        place("buy", 101, 1, **gtd(10)),
        place("buy", 102, 1, client_id="bob", **gtd(20)),
        place("buy", 103, 1, client_id="bob"),
        place("buy", 104, 1, **gtd(20)),
    ]
    run(*orders, cancel_after("bob", 20), amend(orders[0], price_ticks=105))
    run(now=after(60))
    ended = Order.objects.order_by("sequence")
    assert [str(row.order_id) for row in ended] == [orders[number].order_id for number in (1, 2, 4, 3, 0)]
    assert [row.reason for row in ended] == ["expired"] * 3 + ["cancel_after", "expired"]


def test_a_switch_cancels_all_orders_of_its_client_and_disarms_itself(run: Run) -> None:
    mine = [place("buy", 100, 10), stop("buy", 110, 10), place("buy", 100, 10, instrument="ETH-USD")]
    other = place("buy", 100, 10, client_id="bob")
    run(*mine, other, cancel_after("client-A", 10))
    assert CancelAfter.objects.get().cancel_at == after(10)
    run(now=after(9.999))
    assert {outcome(order)[0] for order in mine} == {"open", "pending"}
    late = place("buy", 100, 10)
    run(late, now=after(10))
    assert {outcome(order) for order in mine} == {("cancelled", "cancel_after", 0, 0)}
    assert (outcome(late)[0], outcome(other)[0]) == ("open", "open")
    assert not CancelAfter.objects.exists()
    run(now=after(60))
    assert outcome(late)[0] == "open"


def test_each_switch_replaces_the_last_one_and_zero_seconds_remove_it(run: Run) -> None:
    order = place("buy", 100, 10)
    batches = run(order, cancel_after("client-A", 10), cancel_after("client-A", 20))
    assert replies(batches) == [
        (ReplyKind.DONE, str(unix_milliseconds(after(seconds)))) for seconds in (10, 20)
    ]
    run(cancel_after("client-A", 30), now=after(15))
    run(now=after(44))
    assert outcome(order)[0] == "open"
    assert replies(run(cancel_after("client-A", 0), now=after(44))) == [(ReplyKind.DONE, "null")]
    run(cancel_after("client-A", 0), cancel_after("bob", 5), cancel_after("bob", 0), now=after(60))
    assert outcome(order)[0] == "open"
    assert not CancelAfter.objects.exists()


# --- Mass cancels -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("narrowed", "expected"),
    [
        ({}, "BSWEE"),
        ({"instrument": "BTC-USD"}, "BSW"),
        ({"instrument": "ETH-USD"}, "EE"),
        ({"instrument": "SOL-USD"}, ""),
        ({"instrument": "GONE-USD"}, ""),
        ({"side": "buy"}, "BWE"),
        ({"side": "sell", "instrument": "BTC-USD"}, "S"),
    ],
)
def test_a_mass_cancel_takes_the_orders_of_its_client_off(
    run: Run, narrowed: dict[str, str], expected: str
) -> None:
    mine = {
        "B": [place("buy", 100, 10)],
        "S": [place("sell", 200, 10)],
        "W": [stop("buy", 110, 10)],
        "E": [place("buy", 100, 1, instrument="ETH-USD"), place("sell", 200, 1, instrument="ETH-USD")],
    }
    if "side" in narrowed:
        mine["E"] = mine["E"][:1]
    orders = [order for some in mine.values() for order in some]
    other = place("buy", 100, 10, client_id="bob")
    batches = run(*orders, other, cancel_all("client-A", **narrowed))
    ids = {order.order_id for letter in expected for order in mine[letter]}
    ((kind, body),) = replies(batches)
    answer = msgspec.json.decode(body)
    assert (kind, answer["count"], set(answer["order_ids"])) == ("cancelled_all", len(ids), ids)
    cancelled = Order.objects.filter(status="cancelled", reason="client_request")
    assert {str(row.order_id) for row in cancelled} == ids
    assert outcome(other)[0] == "open"


def test_a_mass_cancel_lists_a_limited_number_of_orders(run: Run, settings: Settings) -> None:
    settings.CANCELLED_IDS_MAX = 2
    orders = [place("buy", 100, 10) for _ in range(3)]
    ((_, body),) = replies(run(*orders, cancel_all("client-A")))
    ids = [order.order_id for order in orders[:2]]
    assert msgspec.json.decode(body) == {"count": 3, "order_ids": ids, "is_more": False}
