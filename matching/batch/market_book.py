"""An instrument's book in the worker, with the numbers that bounds.py limits."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from instruments.directory import TradedInstrument
from matching.engine import Event, OpenOrders, OrderBook, Side


@dataclass(slots=True)
class MarketBook:
    """An instrument, its book in memory, and the number of each client's orders in the book."""

    instrument: TradedInstrument
    book: OrderBook
    open_orders: OpenOrders = field(default_factory=OpenOrders)

    def restore(
        self, *, order_id: str, client_id: str, side: Side, price_ticks: int, remaining_lots: int
    ) -> None:
        """Put a resting order back, and count it. Raises ValueError as `OrderBook.restore` does."""
        self.book.restore(
            order_id=order_id,
            client_id=client_id,
            side=side,
            price_ticks=price_ticks,
            remaining_lots=remaining_lots,
        )
        self.open_orders.add(client_id)

    def undo(self, events: Sequence[Event]) -> None:
        """Take back the latest changes. Raises ValueError as `OrderBook.undo` does."""
        self.book.undo(events)
        self.open_orders.undo(events)
