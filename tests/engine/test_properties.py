"""Properties of every flow of commands: Hypothesis searches for flows without them."""

from collections import defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st

from matching.engine import (
    CancelOrder,
    CommandRejected,
    Event,
    OrderBook,
    OrderCancelled,
    OrderKind,
    OrderRested,
    PlaceOrder,
    RemainderCancelled,
    Side,
    Trade,
)
from tests.engine.reference import ReferenceBook

Command = PlaceOrder | CancelOrder

ids = st.integers(0, 30).map(lambda number: f"order-{number}")
clients = st.sampled_from(["ann", "bob"])
limits = st.builds(
    PlaceOrder,
    ids,
    clients,
    st.sampled_from(Side),
    st.just(OrderKind.LIMIT),
    st.integers(1, 12),
    st.integers(1, 9),
)
markets = st.builds(
    PlaceOrder,
    ids,
    clients,
    st.sampled_from(Side),
    st.just(OrderKind.MARKET),
    st.just(0),
    st.integers(1, 30),
)
flows = st.lists(st.one_of(limits, limits, markets, st.builds(CancelOrder, ids, clients)), max_size=60)


@settings(max_examples=300, deadline=None)
@given(flows)
def test_engine_and_reference_agree_on_any_flow(commands: list[Command]) -> None:
    book, reference = OrderBook(), ReferenceBook()
    for command in commands:
        assert book.process(command) == reference.process(command)
        assert book.depth() == reference.depth()
        assert book.state_hash() == reference.state_hash()


@settings(max_examples=200, deadline=None)
@given(flows, st.integers(1, 3))
def test_an_order_has_a_bounded_number_of_trades_and_never_crosses_the_book(
    commands: list[Command], trades_max: int
) -> None:
    book, reference = OrderBook(), ReferenceBook()
    for command in commands:
        events = book.process(command, trades_max)
        assert events == reference.process(command, trades_max)
        assert book.state_hash() == reference.state_hash()
        assert book.depth() == reference.depth()
        assert sum(isinstance(event, Trade) for event in events) <= trades_max
        bids, asks = book.depth(1)
        assert not bids or not asks or bids[0].price_ticks < asks[0].price_ticks


@settings(max_examples=200, deadline=None)
@given(flows)
def test_engine_and_reference_agree_about_levels(commands: list[Command]) -> None:
    """Also while the engine still keeps levels that cancels have emptied."""
    book, reference = OrderBook(), ReferenceBook()
    for command in commands:
        book.process(command)
        reference.process(command)
        for side in Side:
            assert book.level_count(side) == reference.level_count(side)
            for price_ticks in range(1, 14):
                question = (side, price_ticks)
                assert book.opens_level(*question) == reference.opens_level(*question)
                assert book.improves(*question) == reference.improves(*question)


@settings(max_examples=150, deadline=None)
@given(flows)
def test_no_lot_appears_or_disappears_and_the_book_is_never_crossed(commands: list[Command]) -> None:
    book = OrderBook()
    for command in commands:
        before = sum(level.quantity_lots for side in book.depth() for level in side)
        events = book.process(command)
        bids, asks = book.depth()
        after = sum(level.quantity_lots for side in (bids, asks) for level in side)
        traded = sum(event.quantity_lots for event in events if isinstance(event, Trade))
        rested = sum(event.remaining_lots for event in events if isinstance(event, OrderRested))
        dropped = sum(event.remaining_lots for event in events if isinstance(event, RemainderCancelled))
        cancelled = sum(event.remaining_lots for event in events if isinstance(event, OrderCancelled))
        assert after == before - traded + rested - cancelled
        if isinstance(command, PlaceOrder) and not isinstance(events[0], CommandRejected):
            assert traded + rested + dropped == command.quantity_lots
        assert not bids or not asks or bids[0].price_ticks < asks[0].price_ticks
        assert len(book) == sum(level.orders for side in (bids, asks) for level in side)


@settings(max_examples=150, deadline=None)
@given(flows)
def test_events_rebuild_the_depth_and_number_every_change(commands: list[Command]) -> None:
    book = OrderBook()
    levels: dict[tuple[Side, int], tuple[int, int]] = defaultdict(lambda: (0, 0))
    sequence = 0
    for command in commands:
        for event in book.process(command):
            if isinstance(event, CommandRejected | RemainderCancelled):
                continue
            sequence += 1
            assert event.sequence == sequence
            key = (_level_side(event), event.price_ticks)
            levels[key] = (event.level_quantity_lots, event.level_orders)
            if levels[key] == (0, 0):
                del levels[key]
        assert book.sequence == sequence
    bids, asks = book.depth()
    seen = {(Side.BUY, level.price_ticks): level[1:] for level in bids}
    seen |= {(Side.SELL, level.price_ticks): level[1:] for level in asks}
    assert levels == seen


def _level_side(event: Event) -> Side:
    if isinstance(event, Trade):
        return Side.SELL if event.taker_side is Side.BUY else Side.BUY
    assert isinstance(event, OrderRested | OrderCancelled)
    return event.side
