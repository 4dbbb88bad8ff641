"""What a command did to the book. Database and market data are written from these events alone, and the book takes
changes back by them.

Invariant: `sequence` grows by exactly 1 with each Trade, OrderRested and OrderCancelled, the three that
change the book; the other two leave it as it was and bear no sequence. `level_quantity_lots` and
`level_orders` are the totals of the touched price level after the event, 0 and 0 where the level is gone,
so a feed needs no look at the book.

Structs are not tracked by the garbage collector (they hold strings and integers only, so no cycle is
possible).
"""

from enum import StrEnum

from msgspec import Struct

from matching.engine.commands import Side


class RejectReason(StrEnum):
    """Why a possible command was refused."""

    DUPLICATE_ORDER_ID = "duplicate_order_id"
    """An order with this id rests in the book. Ids of orders that are gone are the database's matter."""
    ORDER_NOT_OPEN = "order_not_open"
    """No order with this id rests in the book."""
    NOT_OWNER = "not_owner"
    """The order rests, but belongs to another client."""


class RemainderReason(StrEnum):
    """Why the rest of an order was dropped."""

    NO_LIQUIDITY = "no_liquidity"
    """A market order found the other side empty."""
    TOO_MANY_TRADES = "too_many_trades"
    """The order has traded as often as one order may, and would trade again."""


class Trade(Struct, frozen=True, gc=False):
    """Two orders met, at the maker's price. `maker_remaining_lots` is 0 where the maker is now gone."""

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
    """What is left of a limit order joined the end of its level. `sequence` is also its time priority."""

    sequence: int
    order_id: str
    client_id: str
    side: Side
    price_ticks: int
    remaining_lots: int
    level_quantity_lots: int
    level_orders: int


class OrderCancelled(Struct, frozen=True, gc=False):
    """A resting order was taken off by its client, with `remaining_lots` unfilled.

    `previous_order_id` is that of the order before it in its level, None where it was the first.
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


class RemainderCancelled(Struct, frozen=True, gc=False):
    """An order ended before it was filled, without coming to rest; `remaining_lots` of it were not filled."""

    order_id: str
    client_id: str
    remaining_lots: int
    reason: RemainderReason = RemainderReason.NO_LIQUIDITY


class CommandRejected(Struct, frozen=True, gc=False):
    """The command was refused. The book is as it was."""

    order_id: str
    client_id: str
    reason: RejectReason


Event = Trade | OrderRested | OrderCancelled | RemainderCancelled | CommandRejected
