"""Orders and commands for the tests of rules, and what the tests ask of events."""

from typing import Any

from msgspec import structs

from matching.engine import (
    INTEGER_MAX,
    AmendOrder,
    CancelOrder,
    CommandRejected,
    Event,
    OrderBook,
    OrderKind,
    OrderTriggered,
    PlaceOrder,
    RejectReason,
    SelfTradePrevention,
    Side,
    TimeInForce,
    Trade,
    instructions_of,
)
from tests.engine.reference import ReferenceBook

Book = OrderBook | ReferenceBook
Command = PlaceOrder | CancelOrder | AmendOrder


def limit(
    order_id: str, side: Side, price_ticks: int, quantity_lots: int, client_id: str = "ann"
) -> PlaceOrder:
    return PlaceOrder(order_id, client_id, side, OrderKind.LIMIT, price_ticks, quantity_lots)


def market(order_id: str, side: Side, quantity_lots: int, client_id: str = "tom") -> PlaceOrder:
    return PlaceOrder(order_id, client_id, side, OrderKind.MARKET, 0, quantity_lots)


def buy(order_id: str, price_ticks: int, quantity_lots: int, client_id: str = "ann") -> PlaceOrder:
    return limit(order_id, Side.BUY, price_ticks, quantity_lots, client_id)


def sell(order_id: str, price_ticks: int, quantity_lots: int, client_id: str = "ann") -> PlaceOrder:
    return limit(order_id, Side.SELL, price_ticks, quantity_lots, client_id)


def waiting(
    order_id: str,
    side: Side,
    kind: OrderKind,
    trigger_price_ticks: int,
    quantity_lots: int,
    *,
    price_ticks: int = 0,
    client_id: str = "ann",
) -> PlaceOrder:
    """Return an order that waits for a trade at its trigger price."""
    return PlaceOrder(
        order_id,
        client_id,
        side,
        kind,
        price_ticks,
        quantity_lots,
        trigger_price_ticks=trigger_price_ticks,
    )


def instructed(
    order: PlaceOrder,
    time_in_force: TimeInForce = TimeInForce.GTC,
    *,
    post_only: bool = False,
    prevention: SelfTradePrevention = SelfTradePrevention.NONE,
) -> PlaceOrder:
    """Return the order with instructions."""
    instructions = instructions_of(time_in_force, post_only, prevention)
    return structs.replace(order, instructions=instructions)


def changed(order: PlaceOrder, **numbers: Any) -> PlaceOrder:
    """Return the order with other numbers, as after an amend."""
    return structs.replace(order, **numbers)


def place(book: Book, *commands: Command) -> list[Event]:
    """Process all commands, and return the events of the last one."""
    events: list[Event] = []
    for command in commands:
        events = book.process(command)
    return events


def enter_all(book: Book, trades_max: int = INTEGER_MAX) -> list[Event]:
    """Let all triggered orders enter, and those that they trigger. Returns all events."""
    events: list[Event] = []
    while book.next_triggered is not None:
        events += book.enter_triggered(trades_max)
    return events


def makers(events: list[Event]) -> list[str]:
    return [event.maker.order_id for event in events if isinstance(event, Trade)]


def triggered(events: list[Event]) -> list[str]:
    return [event.order.order_id for event in events if isinstance(event, OrderTriggered)]


def refused(command: Command, reason: RejectReason) -> list[Event]:
    return [CommandRejected(command.order_id, command.client_id, reason)]


def levels(book: Book) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Return price and quantity of each level of the bids and of the asks."""
    bids, asks = ([(level.price_ticks, level.quantity_lots) for level in side] for side in book.depth())
    return bids, asks
