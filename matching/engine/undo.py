"""Takes back the latest changes of a book, event by event."""

from collections.abc import Sequence

from matching.engine.book_state import BookState
from matching.engine.commands import PlaceOrder
from matching.engine.events import (
    CommandRejected,
    Event,
    MatchPrevented,
    OrderCancelled,
    OrderEntered,
    OrderReduced,
    OrderRested,
    OrderTriggered,
    OrderWaits,
    OrderWithdrawn,
    RemainderCancelled,
    Trade,
    WaitingAmended,
    WaitingCancelled,
)


class UndoableBook(BookState):
    """Takes changes back."""

    __slots__ = ()

    def undo(self, events: Sequence[Event], last_price_ticks: int | None) -> None:
        """Take back the latest changes of the book, given their events in order.

        `last_price_ticks` is the price of the last trade before the events. Cost: O(events log
        levels). Raises ValueError if the events are not the latest ones: then the book is no longer
        valid.
        """
        for event in reversed(events):
            if isinstance(event, CommandRejected | RemainderCancelled):
                continue
            if isinstance(event, OrderEntered):
                self._waiting.put_back_triggered(event.order, None)
                continue
            if event.sequence != self.sequence:
                raise ValueError(f"sequence={event.sequence}: the book's latest change is {self.sequence}")
            if isinstance(event, OrderWaits | WaitingAmended | WaitingCancelled | OrderTriggered):
                self._undo_waiting(event)
            else:
                self._undo_resting(event)
            self.sequence -= 1
        self.last_price_ticks = last_price_ticks

    def _undo_resting(
        self, event: Trade | MatchPrevented | OrderRested | OrderCancelled | OrderReduced | OrderWithdrawn
    ) -> None:
        if isinstance(event, Trade | MatchPrevented):
            self._undo_match(event)
        elif isinstance(event, OrderRested):
            own, _ = self._sides(event.order.side)
            own.remove(self._orders.pop(event.order.order_id))
        elif isinstance(event, OrderReduced):
            queued = self._orders[event.order.order_id]
            difference = event.order.quantity_lots - event.amended.quantity_lots
            queued.order = event.order
            queued.remaining_lots += difference
            queued.level.quantity_lots += difference
        else:
            self._put_back(event.order, event.remaining_lots, event.previous_order_id)

    def _undo_match(self, event: Trade | MatchPrevented) -> None:
        """Put the maker back as the first order of its level, or give it back its lots."""
        if not event.maker_remaining_lots:
            self._put_back(event.maker, event.quantity_lots, None)
            return
        maker = self._orders[event.maker.order_id]
        maker.remaining_lots += event.quantity_lots
        maker.level.quantity_lots += event.quantity_lots

    def _put_back(self, order: PlaceOrder, remaining_lots: int, previous_order_id: str | None) -> None:
        own, _ = self._sides(order.side)
        previous = None if previous_order_id is None else self._orders[previous_order_id]
        self._orders[order.order_id] = own.put_back(order, order.price_ticks, remaining_lots, previous)

    def _undo_waiting(self, event: OrderWaits | WaitingAmended | WaitingCancelled | OrderTriggered) -> None:
        waiting, order = self._waiting, event.order
        if isinstance(event, OrderWaits):
            waiting.remove(order.order_id)
        elif isinstance(event, OrderTriggered):
            waiting.undo_trigger(order)
        elif isinstance(event, WaitingCancelled):
            if event.was_triggered:
                waiting.put_back_triggered(order, event.previous_order_id)
            else:
                waiting.put_back(order, event.previous_order_id)
        elif event.keeps_place:
            waiting.replace(order)
        else:
            waiting.remove(order.order_id)
            waiting.put_back(order, event.previous_order_id)
