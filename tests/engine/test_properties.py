"""Properties of every flow of commands: Hypothesis searches for flows without them."""

from collections import defaultdict
from typing import get_args

from hypothesis import given, settings
from msgspec import structs

from matching.engine import (
    AmendOrder,
    CommandRejected,
    Event,
    MatchPrevented,
    OrderBook,
    OrderCancelled,
    OrderEntered,
    OrderReduced,
    OrderRested,
    OrderWithdrawn,
    PlaceOrder,
    RemainderCancelled,
    SelfTradePrevention,
    Side,
    TimeInForce,
    Trade,
    instructions_of,
)
from tests.engine.comparison import compare
from tests.engine.ledger import WITHOUT_SEQUENCE, Ledger
from tests.engine.reference import ReferenceBook
from tests.engine.strategies import Flow, flows, orders, run, run_all

LEVEL_EVENTS = OrderRested | OrderCancelled | OrderReduced | OrderWithdrawn


@settings(max_examples=100)
@given(flows)
def test_engine_and_reference_agree_on_any_flow(flow: Flow) -> None:
    engine, reference = OrderBook(), ReferenceBook()
    for command, trades_max in flow:
        assert run(engine, command, trades_max) == run(reference, command, trades_max)
        compare(engine, reference)


@settings(max_examples=100)
@given(flows)
def test_engine_and_reference_agree_about_levels(flow: Flow) -> None:
    """Also while the engine still keeps levels that cancels have emptied."""
    engine, reference = OrderBook(), ReferenceBook()
    for command, trades_max in flow:
        run(engine, command, trades_max)
        run(reference, command, trades_max)
        for side in Side:
            for price_ticks in range(1, 14):
                question = (side, price_ticks)
                assert engine.opens_level(*question) == reference.opens_level(*question)
                assert engine.improves(*question) == reference.improves(*question)


@settings(max_examples=100)
@given(flows)
def test_quantity_is_the_sum_of_filled_prevented_and_remaining(flow: Flow) -> None:
    """The ledger also checks that sequences have no gap."""
    book, ledger = OrderBook(), Ledger()
    for command, trades_max in flow:
        for events in run(book, command, trades_max):
            ledger.apply(events)
        assert book.sequence == ledger.sequence


@settings(max_examples=100)
@given(flows)
def test_the_book_is_never_crossed_and_orders_trade_within_their_bound(flow: Flow) -> None:
    book = OrderBook()
    for command, trades_max in flow:
        for events in run(book, command, trades_max):
            assert sum(isinstance(event, Trade) for event in events) <= trades_max
        assert book.best_bid is None or book.best_ask is None or book.best_bid < book.best_ask


@settings(max_examples=100)
@given(flows)
def test_no_waiting_order_is_met_by_the_last_trade(flow: Flow) -> None:
    book = ReferenceBook()
    for command, trades_max in flow:
        run(book, command, trades_max)
        assert not any(order.is_triggered_by(book.last_price_ticks) for order in book.waiting)


@settings(max_examples=100)
@given(flows)
def test_clients_with_prevention_never_trade_with_themselves(flow: Flow) -> None:
    for event in run_all(OrderBook(), flow):
        if isinstance(event, Trade) and event.maker.client_id == event.taker.client_id:
            assert event.taker.instructions.self_trade_prevention is SelfTradePrevention.NONE
        if isinstance(event, MatchPrevented):
            assert event.maker.client_id == event.taker.client_id
            assert event.taker.instructions.self_trade_prevention is SelfTradePrevention.DECREMENT


@settings(max_examples=100)
@given(flows)
def test_post_only_orders_never_take(flow: Flow) -> None:
    takers = [
        event.taker for event in run_all(OrderBook(), flow) if isinstance(event, Trade | MatchPrevented)
    ]
    assert not any(taker.instructions.post_only for taker in takers)


@settings(max_examples=150)
@given(flows, orders.filter(lambda order: not order.waits))
def test_a_fok_order_is_filled_whole_or_touches_nothing(flow: Flow, order: PlaceOrder) -> None:
    book = OrderBook()
    run_all(book, flow)
    prevention = order.instructions.self_trade_prevention
    instructions = instructions_of(TimeInForce.FOK, False, prevention)
    order = structs.replace(order, order_id="fok", instructions=instructions)
    before, waiting = book.state_hash(), book.waiting_count
    events = book.process(order)
    lots = sum(event.quantity_lots for event in events if isinstance(event, Trade))
    if lots:
        assert lots == order.quantity_lots
        assert not any(isinstance(event, RemainderCancelled | MatchPrevented) for event in events)
    else:
        assert [type(event) for event in events] == [RemainderCancelled]
        assert (book.state_hash(), book.waiting_count) == (before, waiting)


@settings(max_examples=100)
@given(flows)
def test_events_rebuild_the_depth(flow: Flow) -> None:
    book = OrderBook()
    levels: dict[tuple[Side, int], tuple[int, int]] = defaultdict(lambda: (0, 0))
    for event in run_all(book, flow):
        order = _resting_order_of(event)
        if order is not None:
            assert isinstance(event, Trade | MatchPrevented | LEVEL_EVENTS)
            levels[order.side, order.price_ticks] = (event.level_quantity_lots, event.level_orders)
    bids, asks = book.depth()
    seen = {(Side.BUY, level.price_ticks): level[1:] for level in bids}
    seen |= {(Side.SELL, level.price_ticks): level[1:] for level in asks}
    assert {key: level for key, level in levels.items() if level != (0, 0)} == seen


@settings(max_examples=100)
@given(flows)
def test_the_same_amend_or_cancel_again_changes_nothing(flow: Flow) -> None:
    book = OrderBook()
    for command, trades_max in flow:
        events = run(book, command, trades_max)[0]
        if isinstance(command, PlaceOrder):
            continue
        repeated = command
        if isinstance(command, AmendOrder) and not _is_refused(events):
            repeated = structs.replace(command, changes_expiry=False)  # it has this time already
        before = book.state_hash()
        again = run(book, repeated, trades_max)[0]
        assert not again or _is_refused(again)
        assert book.state_hash() == before


def _is_refused(events: list[Event]) -> bool:
    return any(isinstance(event, CommandRejected) for event in events)


def _resting_order_of(event: Event) -> PlaceOrder | None:
    """Return the resting order whose price level an event changes, or None."""
    if isinstance(event, Trade | MatchPrevented):
        return event.maker
    return event.order if isinstance(event, LEVEL_EVENTS) else None


def test_events_without_sequence_are_known() -> None:
    """The ledger skips exactly the events that have no sequence."""
    for kind in get_args(Event):
        assert ("sequence" in kind.__struct_fields__) == (kind not in WITHOUT_SEQUENCE)
    assert OrderEntered in WITHOUT_SEQUENCE
