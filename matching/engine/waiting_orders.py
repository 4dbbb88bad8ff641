"""The orders of one instrument that wait for a trade at their trigger price.

Two BookSides hold them, with the trigger price in place of the price. `above` has the orders that
trades at or above the trigger price trigger: its best level is the lowest. `below` has those that
trades at or below trigger: its best level is the highest. At one trigger price the order that came
first is triggered first. A triggered order moves to the queue `triggered`, from which the orders
enter the book one at a time.

Cost: O(log levels) to add, cancel or trigger an order. A trade that triggers nothing costs O(1).
"""

from collections import OrderedDict
from collections.abc import Iterator
from typing import NamedTuple

from matching.engine.book_side import BookSide
from matching.engine.commands import PlaceOrder, Side
from matching.engine.level import QueuedOrder


class WaitingCounts(NamedTuple):
    """The number of orders that wait for higher prices, for lower prices, or have been triggered."""

    above: int
    below: int
    triggered: int


class WaitingOrders:
    """Waiting and triggered orders. Callers check that ids are new or known.

    `orders` has all orders of the book by id, with the resting ones, so that an id is looked up
    once. `count` is the number of waiting and triggered orders among them.
    """

    __slots__ = ("above", "below", "count", "orders", "triggered")

    def __init__(self, orders: dict[str, QueuedOrder]) -> None:
        self.orders = orders
        self.count = 0
        self.above = BookSide(Side.SELL, is_waiting=True)
        self.below = BookSide(Side.BUY, is_waiting=True)
        self.triggered: OrderedDict[str, PlaceOrder] = OrderedDict()  # the next to enter comes first

    def counts(self) -> WaitingCounts:
        """Return the number of orders by what they wait for. O(levels)."""
        above, below = (
            sum(level.orders for level in side.levels.values()) for side in (self.above, self.below)
        )
        return WaitingCounts(above, below, len(self.triggered))

    def append(self, order: PlaceOrder) -> None:
        """Add an order after all others with its trigger price."""
        self.orders[order.order_id] = self._side(order).append(
            order, order.trigger_price_ticks, order.quantity_lots
        )
        self.count += 1

    def put_back(self, order: PlaceOrder, previous_order_id: str | None) -> None:
        """Add an order at its former place: after the order with this id, or first."""
        previous = None if previous_order_id is None else self.orders[previous_order_id]
        self.orders[order.order_id] = self._side(order).put_back(
            order, order.trigger_price_ticks, order.quantity_lots, previous
        )
        self.count += 1

    def remove(self, order_id: str) -> None:
        """Remove a waiting order."""
        queued = self.orders.pop(order_id)
        self.count -= 1
        self._side(queued.order).remove(queued)

    def replace(self, amended: PlaceOrder) -> None:
        """Replace an order with the same id, trigger price and direction, which keeps its place."""
        queued = self.orders[amended.order_id]
        difference = amended.quantity_lots - queued.remaining_lots
        queued.order, queued.remaining_lots = amended, amended.quantity_lots
        queued.level.quantity_lots += difference

    def trigger(self, price_ticks: int) -> list[PlaceOrder]:
        """Move the orders that a trade at this price triggers to the queue, and return them."""
        triggered: list[PlaceOrder] = []
        for side in (self.above, self.below):
            while (queued := side.best_order(price_ticks * side.key_sign)) is not None:
                side.remove(queued)
                triggered.append(queued.order)
        self.triggered.update((order.order_id, order) for order in triggered)
        return triggered

    def restore_triggered(self, order: PlaceOrder) -> None:
        """Add a triggered order at the end of the queue."""
        self.append(order)
        self._side(order).remove(self.orders[order.order_id])
        self.triggered[order.order_id] = order

    def pop_triggered(self) -> PlaceOrder:
        """Remove and return the first order of the queue, which must not be empty."""
        order_id, order = self.triggered.popitem(last=False)
        del self.orders[order_id]
        self.count -= 1
        return order

    def undo_trigger(self, order: PlaceOrder) -> None:
        """Move the order that was triggered last back to the orders that wait: it comes first."""
        del self.triggered[order.order_id]
        self.count -= 1
        self.put_back(order, None)

    def remove_triggered(self, order_id: str) -> str | None:
        """Remove an order from the queue; returns the id of the order before it, or None.

        O(orders in the queue).
        """
        previous = None
        for other in self.triggered:
            if other == order_id:
                break
            previous = other
        del self.triggered[order_id], self.orders[order_id]
        self.count -= 1
        return previous

    def put_back_triggered(self, order: PlaceOrder, previous_order_id: str | None) -> None:
        """Put an order back into the queue: after the order with this id, or first.

        O(orders in the queue), and O(1) if it comes first.
        """
        self.restore_triggered(order)
        if previous_order_id is None:
            self.triggered.move_to_end(order.order_id, last=False)
            return
        order_ids = list(self.triggered)
        for later in order_ids[order_ids.index(previous_order_id) + 1 : -1]:
            self.triggered.move_to_end(later)

    def __iter__(self) -> Iterator[PlaceOrder]:
        """Yield all orders: those that wait for higher prices, for lower prices, then triggered."""
        for side in (self.above, self.below):
            for level in side.in_order():
                for queued in level:
                    yield queued.order
        yield from self.triggered.values()

    def unlink(self) -> None:
        """Unlink all orders, so that they are freed. The object can't be used afterwards."""
        self.above.unlink()
        self.below.unlink()

    def _side(self, order: PlaceOrder) -> BookSide:
        return self.above if order.triggers_above else self.below
