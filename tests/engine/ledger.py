"""Properties that the events of any flow must have, whatever the book's state."""

from collections import Counter

from matching.engine import (
    CommandRejected,
    Event,
    MatchPrevented,
    OrderCancelled,
    OrderEntered,
    OrderReduced,
    OrderRested,
    OrderWithdrawn,
    PlaceOrder,
    RemainderCancelled,
    Trade,
)

WITHOUT_SEQUENCE = (CommandRejected, OrderEntered, RemainderCancelled)


class Ledger:
    """Knows what is filled and prevented of each order, from the events alone.

    Filled, prevented and remaining lots must always sum to the quantity of the order, and sequences
    must have no gap. An order is forgotten when it has ended.
    """

    def __init__(self, sequence: int = 0) -> None:
        self.sequence = sequence
        self._filled: Counter[str] = Counter()
        self._prevented: Counter[str] = Counter()

    def apply(self, events: list[Event]) -> None:
        """Check and count the events of one command, or of one triggered order's entry."""
        taker: PlaceOrder | None = None
        for event in events:
            if not isinstance(event, WITHOUT_SEQUENCE):
                self.sequence += 1
                assert event.sequence == self.sequence
            if isinstance(event, Trade | MatchPrevented):
                taker = event.taker
                counts = self._filled if isinstance(event, Trade) else self._prevented
                for order in (event.maker, taker):
                    counts[order.order_id] += event.quantity_lots
                self._check(event.maker, event.maker_remaining_lots)
                if not event.maker_remaining_lots:
                    self._forget(event.maker)
            elif isinstance(event, OrderRested | OrderWithdrawn):
                self._check(event.order, event.remaining_lots)
                taker = None
            elif isinstance(event, OrderCancelled | RemainderCancelled):
                self._check(event.order, event.remaining_lots)
                self._forget(event.order)
                taker = None if isinstance(event, RemainderCancelled) else taker
            elif isinstance(event, OrderReduced):
                self._check(event.amended, event.remaining_lots)
        if taker is not None:
            self._check(taker, 0)
            self._forget(taker)

    def used_lots(self, order_id: str) -> int:
        """Return what is filled and prevented of an order."""
        return self._filled[order_id] + self._prevented[order_id]

    def _check(self, order: PlaceOrder, remaining_lots: int) -> None:
        assert self.used_lots(order.order_id) + remaining_lots == order.quantity_lots

    def _forget(self, order: PlaceOrder) -> None:
        del self._filled[order.order_id], self._prevented[order.order_id]
