"""One side of the book: its price levels, and the best one among them.

BookSide itself links orders into their levels and unlinks them: methods of the level would cost one
more call each time.

Levels are found by key, and a heap of the keys gives the best level. The key is the price for asks,
and the negated price for bids. So on both sides the smallest key is the best price, and one
matching loop serves both. Waiting orders are kept in the same structure: see waiting_orders.py.

Invariants: the heap and the dictionary hold the same keys, and the smallest key's level has orders.
If a cancel empties a level that is not the best, the level stays as a vacant level, until an order
rests there, the level becomes the best, or too many levels are vacant. There are never more vacant
levels than levels with orders plus VACANT_LEVELS_SPARE.

Cost: the best level is O(1). A new level, or the removal of the best, is O(log levels), amortised.
All levels in order are O(levels log levels), and O(levels) if little changed since the last time.
"""

from collections.abc import Iterator
from heapq import heapify, heappop, heappush

from matching.engine.commands import PlaceOrder, Side
from matching.engine.level import PriceLevel, QueuedOrder

VACANT_LEVELS_SPARE = 64
"""A side has at most this many more vacant levels than levels with orders."""


class BookSide:
    """The bids or the asks; if `is_waiting`, the orders that wait for lower or higher prices."""

    __slots__ = ("is_waiting", "key_sign", "keys", "levels", "vacant_levels")

    def __init__(self, side: Side, *, is_waiting: bool = False) -> None:
        self.is_waiting = is_waiting
        self.key_sign = -1 if side is Side.BUY else 1
        self.keys: list[int] = []  # a heap
        self.levels: dict[int, PriceLevel] = {}
        self.vacant_levels = 0

    @property
    def best_price_ticks(self) -> int | None:
        """The best price in ticks, or None if the side is empty. O(1)."""
        return self.keys[0] * self.key_sign if self.keys else None

    def best_order(self, worst_key: int) -> QueuedOrder | None:
        """Return the first order of the best level, or None if its key is beyond `worst_key`."""
        keys = self.keys
        return self.levels[keys[0]].first if keys and keys[0] <= worst_key else None

    def append(self, order: PlaceOrder, price_ticks: int, remaining_lots: int) -> QueuedOrder:
        """Queue an order after all others at the price. O(1), or O(log levels) at a new price."""
        key = price_ticks * self.key_sign
        level = self.levels.get(key)
        if level is None:
            level = self.levels[key] = PriceLevel(price_ticks, self.is_waiting, remaining_lots, 1)
            heappush(self.keys, key)
            level.first = level.last = queued = QueuedOrder(order, remaining_lots, level)
            return queued
        if not level.orders:
            self.vacant_levels -= 1
        last = level.last
        queued = QueuedOrder(order, remaining_lots, level, last)
        if last is None:
            level.first = queued
        else:
            last.next = queued
        level.last = queued
        level.quantity_lots += remaining_lots
        level.orders += 1
        return queued

    def put_back(
        self, order: PlaceOrder, price_ticks: int, remaining_lots: int, previous: QueuedOrder | None
    ) -> QueuedOrder:
        """Queue an order at its former place: after `previous`, or first at its price if None.

        Costs the same as `append`.
        """
        queued = self.append(order, price_ticks, remaining_lots)
        last = queued.previous
        if last is None or last is previous:
            return queued
        level = queued.level
        following = level.first if previous is None else previous.next
        last.next, level.last = None, last
        queued.previous, queued.next = previous, following
        if previous is None:
            level.first = queued
        else:
            previous.next = queued
        if following is not None:
            following.previous = queued
        return queued

    def remove(self, queued: QueuedOrder) -> None:
        """Remove an order. O(1), or O(log levels) amortised if it is alone at its price."""
        level = queued.level
        previous, following = queued.previous, queued.next
        if previous is None:
            level.first = following
        else:
            previous.next = following
        if following is None:
            level.last = previous
        else:
            following.previous = previous
        queued.previous = queued.next = None
        level.quantity_lots -= queued.remaining_lots
        level.orders = orders = level.orders - 1
        if orders:
            return
        if level.price_ticks * self.key_sign == self.keys[0]:
            self.drop_best()
            return
        self.vacant_levels += 1
        if 2 * self.vacant_levels > len(self.keys) + VACANT_LEVELS_SPARE:
            self._drop_vacant_levels()

    def drop_best(self) -> None:
        """Remove the best level, whose last order is gone, and the vacant levels that follow it.

        The totals of the best level need not be current, because it is removed.
        """
        keys, levels = self.keys, self.levels
        del levels[heappop(keys)]
        if not self.vacant_levels:
            return
        while keys and not levels[keys[0]].orders:
            del levels[heappop(keys)]
            self.vacant_levels -= 1
        if 2 * self.vacant_levels > len(keys) + VACANT_LEVELS_SPARE:
            self._drop_vacant_levels()

    def in_order(self) -> Iterator[PriceLevel]:
        """Yield the levels that have orders, best first."""
        self.keys.sort()  # A sorted list is also a heap.
        for key in self.keys:
            level = self.levels[key]
            if level.orders:
                yield level

    def best_first(self) -> Iterator[PriceLevel]:
        """Yield the levels that have orders, best first. O(log n) for the nth level.

        Walks down the heap, so only the levels that are asked for are put in order.
        """
        keys = self.keys
        reached = [(keys[0], 0)] if keys else []
        while reached:
            key, index = heappop(reached)
            for child in (2 * index + 1, 2 * index + 2):
                if child < len(keys):
                    heappush(reached, (keys[child], child))
            level = self.levels[key]
            if level.orders:
                yield level

    def unlink(self) -> None:
        """Unlink all orders, so that they are freed. The side can't be used afterwards."""
        for level in self.levels.values():
            level.unlink()

    def _drop_vacant_levels(self) -> None:
        self.levels = {key: level for key, level in self.levels.items() if level.orders}
        self.keys = list(self.levels)
        heapify(self.keys)
        self.vacant_levels = 0
