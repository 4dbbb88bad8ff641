"""Knows each client's orders in one book, resting and waiting, from the book's events.

Invariant: after the events of a command, the orders are those of the book. Clients without orders
are not stored, so memory is proportional to the orders, about 100 bytes for each. Cost: O(1) for
each event.

The book itself does not know this: it would slow each order by some percent, and only callers that
limit orders, or cancel all orders of a client, need it.
"""

from collections.abc import Iterator, Sequence

from matching.engine.events import (
    Event,
    MatchPrevented,
    OrderCancelled,
    OrderEntered,
    OrderRested,
    OrderWaits,
    OrderWithdrawn,
    Trade,
    WaitingCancelled,
)


class OrdersByClient:
    """Order ids by client id, for each client in the order in which they were added."""

    __slots__ = ("_by_client",)

    def __init__(self) -> None:
        self._by_client: dict[str, dict[str, None]] = {}

    def count(self, client_id: str) -> int:
        """Return the number of the client's orders. O(1)."""
        orders = self._by_client.get(client_id)
        return 0 if orders is None else len(orders)

    def of(self, client_id: str) -> list[str]:
        """Return the ids of the client's orders. O(orders of the client)."""
        return list(self._by_client.get(client_id, ()))

    def add(self, client_id: str, order_id: str) -> None:
        """Add an order that is not known yet."""
        orders = self._by_client.get(client_id)
        if orders is None:
            self._by_client[client_id] = {order_id: None}
        else:
            orders[order_id] = None

    def remove(self, client_id: str, order_id: str) -> None:
        """Remove an order. Raises KeyError if it is not known."""
        orders = self._by_client[client_id]
        del orders[order_id]
        if not orders:
            del self._by_client[client_id]

    def __iter__(self) -> Iterator[tuple[str, set[str]]]:
        """Yield each client id and its order ids."""
        return ((client_id, set(orders)) for client_id, orders in self._by_client.items())


class ClientOrders:
    """The orders of each client in one book. A triggered order waits until it enters."""

    __slots__ = ("resting", "waiting")

    def __init__(self) -> None:
        self.resting = OrdersByClient()
        self.waiting = OrdersByClient()

    def of(self, client_id: str) -> list[str]:
        """Return the ids of all orders of the client: the resting ones, then the waiting ones."""
        return self.resting.of(client_id) + self.waiting.of(client_id)

    def apply(self, event: Event) -> None:
        """Add or remove the order that the event adds or removes."""
        if isinstance(event, Trade | MatchPrevented):
            if not event.maker_remaining_lots:
                self.resting.remove(event.maker.client_id, event.maker.order_id)
        elif isinstance(event, OrderRested):
            self.resting.add(event.order.client_id, event.order.order_id)
        elif isinstance(event, OrderCancelled | OrderWithdrawn):
            self.resting.remove(event.order.client_id, event.order.order_id)
        elif isinstance(event, OrderWaits):
            self.waiting.add(event.order.client_id, event.order.order_id)
        elif isinstance(event, WaitingCancelled | OrderEntered):
            self.waiting.remove(event.order.client_id, event.order.order_id)

    def undo(self, events: Sequence[Event]) -> None:
        """Take back these events, which must be the latest ones, in order.

        An order that comes back is the last of its client.
        """
        for event in reversed(events):
            if isinstance(event, Trade | MatchPrevented):
                if not event.maker_remaining_lots:
                    self.resting.add(event.maker.client_id, event.maker.order_id)
            elif isinstance(event, OrderRested):
                self.resting.remove(event.order.client_id, event.order.order_id)
            elif isinstance(event, OrderCancelled | OrderWithdrawn):
                self.resting.add(event.order.client_id, event.order.order_id)
            elif isinstance(event, OrderWaits):
                self.waiting.remove(event.order.client_id, event.order.order_id)
            elif isinstance(event, WaitingCancelled | OrderEntered):
                self.waiting.add(event.order.client_id, event.order.order_id)
