"""One side of the book: its price levels, and which of them is best.

It links orders into their levels and takes them out by itself: methods of the level would be a call more each time.

Levels are found by key, and a heap of the keys gives the best one. The key is the price for asks and the
negated price for bids, so that on both sides the smallest key is the best price and the matching loop needs
no second version.

Invariants: the heap and the dictionary hold the same keys; the smallest key's level has orders in it.
A level that a cancel empties behind the best one stays, vacant, until it is used again, becomes the best, or
vacant levels outnumber the others; so there are never more than `live levels + VACANT_LEVELS_SPARE` of them.
Cost: the best level O(1), a new level or the removal of the best O(log levels), amortised; all levels in
order O(levels log levels), and O(levels) when little changed since the last time.
"""

from collections.abc import Iterator
from heapq import heapify, heappop, heappush

from matching.engine.commands import Side
from matching.engine.level import PriceLevel, RestingOrder

VACANT_LEVELS_SPARE = 64
"""Vacant levels, on top of one for each live level, that are kept before all are swept out."""


class BookSide:
    """The bids or the asks."""

    __slots__ = ("key_sign", "keys", "levels", "side", "vacant_levels")

    def __init__(self, side: Side) -> None:
        self.side = side
        self.key_sign = -1 if side is Side.BUY else 1
        self.keys: list[int] = []  # a heap
        self.levels: dict[int, PriceLevel] = {}
        self.vacant_levels = 0

    @property
    def best_price_ticks(self) -> int | None:
        """The price that a taker would meet first; None where the side is empty. O(1)."""
        return self.keys[0] * self.key_sign if self.keys else None

    def append(self, order_id: str, client_id: str, price_ticks: int, remaining_lots: int) -> RestingOrder:
        """Rest an order behind all others at its price. O(1), O(log levels) where the price is new."""
        key = price_ticks * self.key_sign
        level = self.levels.get(key)
        if level is None:
            level = self.levels[key] = PriceLevel(self.side, price_ticks, remaining_lots, 1)
            heappush(self.keys, key)
            level.first = level.last = order = RestingOrder(order_id, client_id, remaining_lots, level)
            return order
        if not level.orders:
            self.vacant_levels -= 1
        last = level.last
        order = RestingOrder(order_id, client_id, remaining_lots, level, last)
        if last is None:
            level.first = order
        else:
            last.next = order
        level.last = order
        level.quantity_lots += remaining_lots
        level.orders += 1
        return order

    def put_back(
        self,
        order_id: str,
        client_id: str,
        price_ticks: int,
        remaining_lots: int,
        previous: RestingOrder | None,
    ) -> RestingOrder:
        """Rest an order where it was: behind `previous`, or None, before all others at its price. As `append`."""
        order = self.append(order_id, client_id, price_ticks, remaining_lots)
        last = order.previous
        if last is None or last is previous:
            return order
        level = order.level
        following = level.first if previous is None else previous.next
        last.next, level.last = None, last
        order.previous, order.next = previous, following
        if previous is None:
            level.first = order
        else:
            previous.next = order
        if following is not None:
            following.previous = order
        return order

    def remove(self, order: RestingOrder) -> None:
        """Take off a resting order of this side. O(1); alone at its price, O(log levels) amortised."""
        level = order.level
        previous, following = order.previous, order.next
        if previous is None:
            level.first = following
        else:
            previous.next = following
        if following is None:
            level.last = previous
        else:
            following.previous = previous
        order.previous = order.next = None
        level.quantity_lots -= order.remaining_lots
        level.orders -= 1
        if level.orders:
            return
        if level.price_ticks * self.key_sign == self.keys[0]:
            self.drop_best()
            return
        self.vacant_levels += 1
        if 2 * self.vacant_levels > len(self.keys) + VACANT_LEVELS_SPARE:
            self._sweep()

    def drop_best(self) -> None:
        """Forget the best level, whose last order is gone (its totals count no more), and vacant ones behind it."""
        keys, levels = self.keys, self.levels
        del levels[heappop(keys)]
        while keys and not levels[keys[0]].orders:
            del levels[heappop(keys)]
            self.vacant_levels -= 1
        if 2 * self.vacant_levels > len(keys) + VACANT_LEVELS_SPARE:
            self._sweep()

    def in_order(self) -> Iterator[PriceLevel]:
        """The levels that have orders, best first."""
        self.keys.sort()  # a sorted list is a heap, too
        for key in self.keys:
            level = self.levels[key]
            if level.orders:
                yield level

    def unlink(self) -> None:
        """Let go of every order. The side can't be used after it."""
        for level in self.levels.values():
            level.unlink()

    def _sweep(self) -> None:
        self.levels = {key: level for key, level in self.levels.items() if level.orders}
        self.keys = list(self.levels)
        heapify(self.keys)
        self.vacant_levels = 0
