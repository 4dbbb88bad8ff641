"""The orders at one price: a first-in, first-out queue, as a doubly linked list of the orders.

BookSide links and unlinks the orders.

Invariants: `quantity_lots` and `orders` are the sum and the count of the linked orders, `first` is
the oldest one, and an order that left the book has no links. Cost: append and remove are O(1) for
any length, and leave no garbage.

Waiting orders use the same queues: there the price is the trigger price.

The garbage collector does not track queued orders, which are many and live long: with a million of
them, each full collection would stop the exchange. Neighbours refer to each other, so a level with
orders must be unlinked before it is dropped. BookState does this when a book is dropped.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from msgspec import Struct

from matching.engine.commands import PlaceOrder


class Level(NamedTuple):
    """One row of the book's depth, for callers of the engine."""

    price_ticks: int
    quantity_lots: int
    orders: int


class QueuedOrder(Struct, gc=False):
    """An order in the queue of its level."""

    order: PlaceOrder
    remaining_lots: int
    level: PriceLevel
    previous: QueuedOrder | None = None
    next: QueuedOrder | None = None

    @property
    def previous_order_id(self) -> str | None:
        """The id of the order before it in its level, or None if it is the first."""
        return None if self.previous is None else self.previous.order.order_id


class PriceLevel(Struct, gc=False):
    """All orders of one side at one price, in time priority. An empty level is vacant.

    `is_waiting` tells that its orders wait: the price is their trigger price.
    """

    price_ticks: int
    is_waiting: bool = False
    quantity_lots: int = 0
    orders: int = 0
    first: QueuedOrder | None = None
    last: QueuedOrder | None = None

    def unlink(self) -> None:
        """Unlink all orders, so that reference counts free them without recursion. O(orders)."""
        order, self.first, self.last = self.first, None, None
        while order is not None:
            following = order.next
            order.previous = order.next = None
            order = following

    def __iter__(self) -> Iterator[QueuedOrder]:
        """Yield the orders, oldest first."""
        order = self.first
        while order is not None:
            yield order
            order = order.next
