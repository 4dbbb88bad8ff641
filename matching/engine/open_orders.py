"""Counts each client's resting orders in one book, from the book's events.

Invariant: after the events of a command, the counts match the book. Clients without resting orders
are not stored, so memory is proportional to the clients with resting orders. Cost: O(1) for each
event.

The book itself does not count: that would slow each order by some percent, and only callers that
limit orders need the counts.
"""

from collections.abc import Sequence

from matching.engine.events import Event, OrderCancelled, OrderRested, Trade


class OpenOrders:
    """The counts of one book, by client id."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def of(self, client_id: str) -> int:
        """Return the number of the client's resting orders. O(1)."""
        return self._counts.get(client_id, 0)

    def add(self, client_id: str) -> None:
        """Count an order of the client that now rests, or was restored."""
        counts = self._counts
        counts[client_id] = counts.get(client_id, 0) + 1

    def remove(self, client_id: str) -> None:
        """Uncount a filled or cancelled order of the client.

        Raises ValueError if none is counted.
        """
        left = self._counts.get(client_id, 0) - 1
        if left > 0:
            self._counts[client_id] = left
        elif left == 0:
            del self._counts[client_id]
        else:
            raise ValueError(f"client_id={client_id!r}: has no resting order")

    def undo(self, events: Sequence[Event]) -> None:
        """Take back the counts of these events, which must be the latest ones, in order."""
        for event in reversed(events):
            if isinstance(event, OrderRested):
                self.remove(event.client_id)
            elif isinstance(event, OrderCancelled):
                self.add(event.client_id)
            elif isinstance(event, Trade) and not event.maker_remaining_lots:
                self.add(event.maker_client_id)

    def as_dict(self) -> dict[str, int]:
        """Return a copy of all counts, by client id."""
        return dict(self._counts)
