"""The orders at one price: a first in, first out queue as a doubly linked list through the orders themselves.
BookSide links them.

Invariants: `quantity_lots` and `orders` are the sum and the count of what is linked; `first` is the oldest;
an order that is off the book has no links. Cost: append and remove are O(1), whatever the length, and leave
no garbage behind.

Resting orders live long and are many, so they are not tracked by the garbage collector: with a million of
them each full collection would stop the exchange. Neighbours refer to each other, so whoever drops a level
with orders in it must `unlink` it first (BookSide and OrderBook do).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from msgspec import Struct

from matching.engine.commands import Side


class Level(NamedTuple):
    """One row of the book's depth, as the outside sees it."""

    price_ticks: int
    quantity_lots: int
    orders: int


class RestingOrder(Struct, gc=False):
    """An order in the book. Side and price are its level's."""

    order_id: str
    client_id: str
    remaining_lots: int
    level: PriceLevel
    previous: RestingOrder | None = None
    next: RestingOrder | None = None


class PriceLevel(Struct, gc=False):
    """All resting orders of one side at one price, in time priority. It may be vacant for a while."""

    side: Side
    price_ticks: int
    quantity_lots: int = 0
    orders: int = 0
    first: RestingOrder | None = None
    last: RestingOrder | None = None

    def unlink(self) -> None:
        """Let go of every order without recursion, so that reference counts free them. O(orders)."""
        order, self.first, self.last = self.first, None, None
        while order is not None:
            following = order.next
            order.previous = order.next = None
            order = following

    def __iter__(self) -> Iterator[RestingOrder]:
        """The orders, oldest first."""
        order = self.first
        while order is not None:
            yield order
            order = order.next
