"""The state of a partition in the worker: its books, deadlines and guards, and what waits in it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from instruments.directory import TradedInstrument
from matching.batch.deadlines import Deadlines
from matching.batch.deferred import DeferredCommands
from matching.batch.guards import Guards
from matching.engine import ClientOrders, Event, OrderBook, PlaceOrder


@dataclass(slots=True)
class MarketBook:
    """An instrument, its book in memory, and each client's orders in the book."""

    instrument: TradedInstrument
    book: OrderBook
    orders: ClientOrders = field(default_factory=ClientOrders)

    def restore(self, order: PlaceOrder, remaining_lots: int) -> None:
        """Put a resting order back. Raises ValueError as `OrderBook.restore` does."""
        self.book.restore(order, remaining_lots)
        self.orders.resting.add(order.client_id, order.order_id)

    def restore_waiting(self, order: PlaceOrder, *, is_triggered: bool) -> None:
        """Put a waiting order back. Raises ValueError as `OrderBook.restore_waiting` does."""
        self.book.restore_waiting(order, is_triggered=is_triggered)
        self.orders.waiting.add(order.client_id, order.order_id)

    def undo(self, events: Sequence[Event], last_price_ticks: int | None) -> None:
        """Take back the latest changes. Raises ValueError as `OrderBook.undo` does."""
        self.book.undo(events, last_price_ticks)
        self.orders.undo(events)


@dataclass(slots=True)
class PartitionState:
    """Everything that a worker keeps in memory between two batches."""

    books: dict[str, MarketBook] = field(default_factory=dict)  # by symbol
    deadlines: Deadlines = field(default_factory=Deadlines)
    guards: Guards = field(default_factory=Guards)
    # The symbols of books with triggered orders that have not entered yet. A dictionary keeps them
    # in the order in which they were added.
    unfinished: dict[str, None] = field(default_factory=dict)
    deferred: DeferredCommands = field(default_factory=DeferredCommands)  # a batch replaces it by a copy
    # What mass cancels have yet to cancel, as symbols and order ids, by the first piece's request id.
    # A worker that takes over does not know it. Lists and dictionary are replaced, never changed.
    mass_cancels: dict[str, list[tuple[str, str]]] = field(default_factory=dict)

    def note_triggered(self, market: MarketBook) -> None:
        """Add the book to `unfinished`, or remove it, by its triggered orders."""
        symbol = market.instrument.symbol
        if market.book.next_triggered is not None:
            self.unfinished[symbol] = None
        else:
            self.unfinished.pop(symbol, None)
