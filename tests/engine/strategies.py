"""Random commands for Hypothesis: few ids, clients and prices, so that orders meet each other."""

from hypothesis import strategies as st

from matching.engine import (
    INTEGER_MAX,
    AmendOrder,
    CancelOrder,
    Event,
    OrderKind,
    PlaceOrder,
    SelfTradePrevention,
    Side,
    TimeInForce,
    instructions_of,
)
from tests.engine.orders import Book, Command

Flow = list[tuple[Command, int]]
"""Commands, each with the greatest number of trades that one order may make then."""


def make_order(  # noqa: PLR0917 - Hypothesis passes them by position
    order_id: str,
    client_id: str,
    side: Side,
    kind: OrderKind,
    price_ticks: int,
    quantity_lots: int,
    trigger_price_ticks: int,
    time_in_force: TimeInForce,
    post_only: bool,
    prevention: SelfTradePrevention,
) -> PlaceOrder:
    """Return the order without what its kind does not have."""
    order = PlaceOrder(order_id, client_id, side, kind, 0, quantity_lots)
    rests = order.has_limit and time_in_force in (TimeInForce.GTC, TimeInForce.GTD)
    if time_in_force is TimeInForce.GTD and not order.has_limit:
        time_in_force = TimeInForce.IOC
    return PlaceOrder(
        order_id,
        client_id,
        side,
        kind,
        price_ticks if order.has_limit else 0,
        quantity_lots,
        instructions_of(time_in_force, post_only and rests, prevention),
        trigger_price_ticks if order.waits else 0,
    )


ids = st.integers(0, 30).map(lambda number: f"order-{number}")
clients = st.sampled_from(["ann", "bob"])
prices = st.integers(1, 12)
quantities = st.integers(1, 9)
orders = st.builds(
    make_order,
    ids,
    clients,
    st.sampled_from(Side),
    st.sampled_from(OrderKind),
    prices,
    quantities,
    prices,
    st.sampled_from(TimeInForce),
    st.booleans(),
    st.sampled_from(SelfTradePrevention),
)
limits = st.builds(
    PlaceOrder, ids, clients, st.sampled_from(Side), st.just(OrderKind.LIMIT), prices, quantities
)
amends = st.builds(
    AmendOrder,
    ids,
    clients,
    st.none() | prices,
    st.none() | quantities,
    st.none() | prices,
    st.booleans(),
    st.sampled_from([False, False, False, True]),
)
commands = st.one_of(limits, orders, orders, st.builds(CancelOrder, ids, clients), amends)
trades_max = st.sampled_from([INTEGER_MAX, INTEGER_MAX, 1, 2])
flows = st.lists(st.tuples(commands, trades_max), max_size=50)


def run(book: Book, command: Command, trades_max: int) -> list[list[Event]]:
    """Process a command and let all triggered orders enter. Returns the events of each of them."""
    runs = [book.process(command, trades_max)]
    while book.next_triggered is not None:
        runs.append(book.enter_triggered(trades_max))
    return runs


def run_all(book: Book, flow: Flow) -> list[Event]:
    """Run all commands, and return all events."""
    return [event for command, most in flow for events in run(book, command, most) for event in events]
