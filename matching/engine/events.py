"""The events of the book: the effects of a command.

The rows of the database and market data are made from these events alone. `OrderBook.undo` takes
events back.

Invariant: `sequence` grows by exactly 1 with each Trade, OrderRested and OrderCancelled, which
change the book. The other two events do not change the book and have no sequence.
`level_quantity_lots` and `level_orders` are the totals of the changed price level after the event,
and 0 if the level is gone. So market data can be made from events, without the book.

The garbage collector does not track these structs: they hold only strings and integers, so they
can't form cycles.
"""

from enum import StrEnum

from msgspec import Struct

from matching.engine.commands import CancelReason, Side


class RejectReason(StrEnum):
    """The reason why a possible command was refused."""

    DUPLICATE_ORDER_ID = "duplicate_order_id"
    """An order with this id rests in the book. The database checks the ids of other orders."""
    ORDER_NOT_OPEN = "order_not_open"
    """No order with this id rests in the book."""
    NOT_OWNER = "not_owner"
    """The order rests in the book, but belongs to another client."""


class Trade(Struct, frozen=True, gc=False):
    """Two orders traded at the maker's price.

    `maker_remaining_lots` is 0 if the maker is filled.
    """

    sequence: int
    maker_order_id: str
    maker_client_id: str
    taker_order_id: str
    taker_client_id: str
    taker_side: Side
    price_ticks: int
    quantity_lots: int
    maker_remaining_lots: int
    level_quantity_lots: int
    level_orders: int


class OrderRested(Struct, frozen=True, gc=False):
    """The remainder of a limit order rests at the end of its price level.

    `sequence` is also the order's time priority.
    """

    sequence: int
    order_id: str
    client_id: str
    side: Side
    price_ticks: int
    remaining_lots: int
    level_quantity_lots: int
    level_orders: int


class OrderCancelled(Struct, frozen=True, gc=False):
    """A resting order was cancelled with `remaining_lots` unfilled.

    `previous_order_id` is the id of the order before it in its level, or None if it was the first.
    """

    sequence: int
    order_id: str
    client_id: str
    side: Side
    price_ticks: int
    remaining_lots: int
    level_quantity_lots: int
    level_orders: int
    previous_order_id: str | None
    reason: CancelReason = CancelReason.CLIENT_REQUEST


class RemainderCancelled(Struct, frozen=True, gc=False):
    """A new order did not rest, and `remaining_lots` of it were not filled."""

    order_id: str
    client_id: str
    remaining_lots: int
    reason: CancelReason = CancelReason.NO_LIQUIDITY


class CommandRejected(Struct, frozen=True, gc=False):
    """The command was refused. The book did not change."""

    order_id: str
    client_id: str
    reason: RejectReason


Event = Trade | OrderRested | OrderCancelled | RemainderCancelled | CommandRejected
