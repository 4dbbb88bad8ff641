"""How many resting orders each client has in one book, counted from the book's events.

Invariant: after the events of a command the counts are those of the book, and clients without a resting order
are not in it, so memory is proportional to the clients that have one. Cost: O(1) an event.

The book does not count by itself: a look-up for each order would slow it by some percent, and only a caller that
sets bounds needs it.
"""

from collections.abc import Sequence

from matching.engine.events import Event, OrderCancelled, OrderRested, Trade


class OpenOrders:
    """Counts of one book, by client id."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def of(self, client_id: str) -> int:
        """How many orders of the client rest. O(1)."""
        return self._counts.get(client_id, 0)

    def add(self, client_id: str) -> None:
        """An order of the client has come to rest, or was restored."""
        counts = self._counts
        counts[client_id] = counts.get(client_id, 0) + 1

    def remove(self, client_id: str) -> None:
        """A resting order of the client was filled or cancelled. Raises ValueError if it has none."""
        left = self._counts.get(client_id, 0) - 1
        if left > 0:
            self._counts[client_id] = left
        elif left == 0:
            del self._counts[client_id]
        else:
            raise ValueError(f"client_id={client_id!r}: has no resting order")

    def undo(self, events: Sequence[Event]) -> None:
        """Take back what was counted for these events, the latest ones, in their order."""
        for event in reversed(events):
            if isinstance(event, OrderRested):
                self.remove(event.client_id)
            elif isinstance(event, OrderCancelled):
                self.add(event.client_id)
            elif isinstance(event, Trade) and not event.maker_remaining_lots:
                self.add(event.maker_client_id)

    def as_dict(self) -> dict[str, int]:
        """A copy of all counts, by client id."""
        return dict(self._counts)
