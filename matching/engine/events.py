"""The events of the book: the effects of a command.

The rows of the database and market data are made from these events alone. `OrderBook.undo` takes
events back.

Invariant: `sequence` grows by exactly 1 with each event that has one. Such an event changes the
book or the waiting orders. RemainderCancelled, OrderEntered and CommandRejected have none.
`level_quantity_lots` and `level_orders` are the totals of the changed price level after the event,
and 0 if the level is gone. So market data can be made from events, without the book.

Events name their orders as they were when the event happened. An amend makes a new PlaceOrder, and
the events after it name that one.

The garbage collector does not track these structs: they hold only strings, integers and orders, so
they can't form cycles.
"""

from enum import StrEnum

from msgspec import Struct

from matching.engine.commands import CancelReason, PlaceOrder


class RejectReason(StrEnum):
    """The reason why a possible command was refused."""

    DUPLICATE_ORDER_ID = "duplicate_order_id"
    """An order with this id rests or waits. The database checks the ids of other orders."""
    ORDER_NOT_OPEN = "order_not_open"
    """No order with this id rests or waits."""
    NOT_OWNER = "not_owner"
    """The order rests or waits, but belongs to another client."""
    WOULD_CROSS = "would_cross"
    """A post-only order would trade at once."""
    WOULD_TRIGGER = "would_trigger"
    """The last trade meets the trigger price already."""
    INSTRUMENT_HALTED = "instrument_halted"
    """The amend does more than reduce the quantity."""
    NOT_APPLICABLE = "not_applicable"
    """The order has no such number: a market kind's price, or a trigger price after the trigger."""
    QUANTITY_FILLED = "quantity_filled"
    """The new quantity is not above what is filled and prevented already."""


class Trade(Struct, frozen=True, gc=False):
    """Two orders traded at the maker's price.

    `maker_remaining_lots` is 0 if the maker is filled.
    """

    sequence: int
    maker: PlaceOrder
    taker: PlaceOrder
    price_ticks: int
    quantity_lots: int
    maker_remaining_lots: int
    level_quantity_lots: int
    level_orders: int


class MatchPrevented(Struct, frozen=True, gc=False):
    """Self-trade prevention took `quantity_lots` off both orders: SelfTradePrevention.DECREMENT.

    If `maker_remaining_lots` is 0, the maker has left the book: it is cancelled.
    """

    sequence: int
    maker: PlaceOrder
    taker: PlaceOrder
    quantity_lots: int
    maker_remaining_lots: int
    level_quantity_lots: int
    level_orders: int


class OrderRested(Struct, frozen=True, gc=False):
    """The remainder of an order rests at the end of its price level.

    `sequence` is also the order's time priority.
    """

    sequence: int
    order: PlaceOrder
    remaining_lots: int
    level_quantity_lots: int
    level_orders: int


class OrderCancelled(Struct, frozen=True, gc=False):
    """A resting order was cancelled with `remaining_lots` unfilled.

    `previous_order_id` is the id of the order before it in its level, or None if it was the first.
    """

    sequence: int
    order: PlaceOrder
    remaining_lots: int
    level_quantity_lots: int
    level_orders: int
    previous_order_id: str | None
    reason: CancelReason = CancelReason.CLIENT_REQUEST


class OrderReduced(Struct, frozen=True, gc=False):
    """An amend reduced a resting order, which keeps its place.

    `order` is the order before the amend. `amended` is it afterwards, with `remaining_lots`.
    """

    sequence: int
    order: PlaceOrder
    amended: PlaceOrder
    remaining_lots: int
    level_quantity_lots: int
    level_orders: int


class OrderWithdrawn(Struct, frozen=True, gc=False):
    """An amend took a resting order off the book, and it enters again as `amended`.

    `order` is the order before the amend, which had `remaining_lots`. `previous_order_id` is as in
    OrderCancelled.
    """

    sequence: int
    order: PlaceOrder
    amended: PlaceOrder
    remaining_lots: int
    level_quantity_lots: int
    level_orders: int
    previous_order_id: str | None


class OrderWaits(Struct, frozen=True, gc=False):
    """A new order waits for its trigger, at the end of the orders with its trigger price."""

    sequence: int
    order: PlaceOrder


class WaitingAmended(Struct, frozen=True, gc=False):
    """An amend changed a waiting order from `order` to `amended`.

    If `keeps_place` is false, it has moved to the end of the orders with its trigger price.
    `previous_order_id` is the id of the order before its former place, or None if it was the first.
    """

    sequence: int
    order: PlaceOrder
    amended: PlaceOrder
    keeps_place: bool
    previous_order_id: str | None


class WaitingCancelled(Struct, frozen=True, gc=False):
    """A waiting order was cancelled.

    If `was_triggered`, it had been triggered and had not entered the book yet. `previous_order_id`
    is the id of the order that it stood behind, or None if it was the first.
    """

    sequence: int
    order: PlaceOrder
    was_triggered: bool
    previous_order_id: str | None
    reason: CancelReason


class OrderTriggered(Struct, frozen=True, gc=False):
    """A trade met a waiting order's trigger. It enters after the orders triggered before it."""

    sequence: int
    order: PlaceOrder


class OrderEntered(Struct, frozen=True, gc=False):
    """A triggered order is the taker of the events that follow."""

    order: PlaceOrder


class RemainderCancelled(Struct, frozen=True, gc=False):
    """An order that entered did not rest, and `remaining_lots` of it were not filled."""

    order: PlaceOrder
    remaining_lots: int
    reason: CancelReason = CancelReason.NO_LIQUIDITY


class CommandRejected(Struct, frozen=True, gc=False):
    """The command was refused. The book did not change."""

    order_id: str
    client_id: str
    reason: RejectReason


Event = (
    Trade
    | MatchPrevented
    | OrderRested
    | OrderCancelled
    | OrderReduced
    | OrderWithdrawn
    | OrderWaits
    | WaitingAmended
    | WaitingCancelled
    | OrderTriggered
    | OrderEntered
    | RemainderCancelled
    | CommandRejected
)
