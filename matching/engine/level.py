"""The orders at one price: a first-in, first-out queue, as a doubly linked list of the orders.

BookSide links and unlinks the orders.

Invariants: `quantity_lots` and `orders` are the sum and the count of the linked orders, `first` is
the oldest one, and an order that left the book has no links. Cost: append and remove are O(1) for
any length, and leave no garbage.

The garbage collector does not track resting orders, which are many and live long: with a million of
them, each full collection would stop the exchange. Neighbours refer to each other, so a level with
orders must be unlinked before it is dropped. RestingOrders does this when a book is dropped.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from msgspec import Struct

from matching.engine.commands import Side


class Level(NamedTuple):
    """One row of the book's depth, for callers of the engine."""

    price_ticks: int
    quantity_lots: int
    orders: int


class RestingOrder(Struct, gc=False):
    """An order in the book. Its level has its side and its price."""

    order_id: str
    client_id: str
    remaining_lots: int
    level: PriceLevel
    previous: RestingOrder | None = None
    next: RestingOrder | None = None


class PriceLevel(Struct, gc=False):
    """All resting orders of one side at one price, in time priority. An empty level is vacant."""

    side: Side
    price_ticks: int
    quantity_lots: int = 0
    orders: int = 0
    first: RestingOrder | None = None
    last: RestingOrder | None = None

    def unlink(self) -> None:
        """Unlink all orders, so that reference counts free them without recursion. O(orders)."""
        order, self.first, self.last = self.first, None, None
        while order is not None:
            following = order.next
            order.previous = order.next = None
            order = following

    def __iter__(self) -> Iterator[RestingOrder]:
        """Yield the orders, oldest first."""
        order = self.first
        while order is not None:
            yield order
            order = order.next
