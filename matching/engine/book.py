"""The order book of one instrument: takes commands, returns events, matches by price-time priority.

Invariants, after every call:
- The best bid is below the best ask.
- At each price, the order that rested first is filled first. A trade has the resting order's price.
- `sequence` counts the changes without a gap. A command's events describe all changes.
- A command that raises has changed nothing.
- The last trade does not meet the trigger of a waiting order: such an order has been triggered.

A triggered order enters the book when the caller calls `enter_triggered`, once for each of them. So
the caller can commit a long chain of triggers in pieces, and nothing here is recursive.

Cost: an order takes O(trades) + O(log levels), a cancel O(1), and a fill O(1), however long its
level is. A waiting order takes O(log levels). Memory is proportional to the orders, about 370 bytes
for each one with its ids. benchmarks/engine.py measures both.
docs/adr/0002-engine-data-structures.md describes the alternatives that were tried.

The layers, from below: book_state.py, undo.py, matcher.py, amends.py, and this module.

Known limit: the book knows an order's id only while the order rests or waits. The database makes
sure that ids are unique over time.
"""

from matching.engine.amends import AmendableBook
from matching.engine.commands import (
    INTEGER_MAX,
    AmendOrder,
    CancelOrder,
    CancelReason,
    OrderKind,
    PlaceOrder,
    Side,
    check_ids,
    check_place_order,
)
from matching.engine.events import (
    CommandRejected,
    Event,
    OrderCancelled,
    OrderEntered,
    OrderRested,
    OrderTriggered,
    OrderWaits,
    RejectReason,
    RemainderCancelled,
    Trade,
    WaitingCancelled,
)
from matching.engine.instructions import PLAIN
from matching.engine.level import QueuedOrder

_BUY = Side.BUY  # Looking enum members up is slow, so it is done once: see commands.py.
_LIMIT = OrderKind.LIMIT
_MARKET = OrderKind.MARKET
_NO_LIQUIDITY = CancelReason.NO_LIQUIDITY
_ORDER_NOT_OPEN = RejectReason.ORDER_NOT_OPEN


class OrderBook(AmendableBook):
    """Carries out commands, and takes them back.

    A PlaceOrder gives OrderWaits, or its Trades and other matches, then OrderRested or
    RemainderCancelled if a part of the order remains. A CancelOrder gives OrderCancelled or
    WaitingCancelled. An AmendOrder gives OrderReduced or WaitingAmended, OrderWithdrawn with the
    events of an order that enters, or nothing if it changes nothing. At the end come the waiting
    orders that the trades have triggered, each with OrderTriggered. A refused command gives one
    CommandRejected.
    """

    __slots__ = ()

    def process(
        self, command: PlaceOrder | CancelOrder | AmendOrder, trades_max: int = INTEGER_MAX
    ) -> list[Event]:
        """Carry out one command and return its events in order.

        An order makes at most `trades_max` trades, which must be at least 1. If it would trade
        again, its remainder is cancelled, because it can't rest. Raises ValueError, before any
        change, if the command is impossible: it has another type, or a number that is not a
        positive integer.
        """
        if type(command) is not PlaceOrder:
            return (
                self._cancel(command)
                if type(command) is CancelOrder
                else self._amend_and_trigger(command, trades_max)
            )
        order_id = command.order_id  # From here on it is the short way of orders without instructions.
        side = command.side
        price_ticks = command.price_ticks
        remaining_lots = command.quantity_lots
        kind = command.kind
        is_limit = kind is _LIMIT
        if not (  # the conditions of check_place_order, without the cost of a call
            command.instructions is PLAIN
            and type(price_ticks) is type(remaining_lots) is int
            and (0 < price_ticks <= INTEGER_MAX if is_limit else kind is _MARKET and price_ticks == 0)
            and 0 < remaining_lots <= INTEGER_MAX
            and type(order_id) is type(command.client_id) is str
            and type(side) is Side
            and not command.trigger_price_ticks
        ):
            check_place_order(command)
            if command.instructions is not PLAIN or command.waits:
                return self._place_instructed(command, trades_max)
        if order_id in self._orders:
            return [CommandRejected(order_id, command.client_id, RejectReason.DUPLICATE_ORDER_ID)]
        if side is _BUY:
            own, opposite = self._bids, self._asks
        else:
            own, opposite = self._asks, self._bids
        worst_key = price_ticks * opposite.key_sign if is_limit else INTEGER_MAX
        keys = opposite.keys
        if keys and keys[0] <= worst_key:
            events: list[Event] = []
            remaining_lots = self._match(command, remaining_lots, opposite, worst_key, events, trades_max)
            if remaining_lots:
                self._end_entry(command, remaining_lots, opposite, worst_key, events)
            if self._waiting.count:
                self._trigger(events)
            return events
        if is_limit:
            # The same as _rest, without the cost of calls.
            self._orders[order_id] = queued = own.append(command, price_ticks, remaining_lots)
            self.sequence = sequence = self.sequence + 1
            level = queued.level
            return [OrderRested(sequence, command, remaining_lots, level.quantity_lots, level.orders)]
        return [RemainderCancelled(command, remaining_lots, _NO_LIQUIDITY)]

    def enter_triggered(
        self, trades_max: int = INTEGER_MAX, refusal: CancelReason | None = None
    ) -> list[Event]:
        """Let the next triggered order enter the book, and return the events in order.

        OrderEntered comes first, then the events of an order that enters. With a `refusal` the
        order is cancelled instead, for this reason. Raises ValueError if no order is triggered.
        """
        if not self._waiting.triggered:
            raise ValueError("no order is triggered")
        order = self._waiting.pop_triggered()
        events: list[Event] = [OrderEntered(order)]
        if refusal is not None:
            events.append(RemainderCancelled(order, order.quantity_lots, refusal))
            return events
        self._enter(order, order.quantity_lots, events, trades_max)
        if self._waiting.count:
            self._trigger(events)
        return events

    def _amend_and_trigger(
        self, command: PlaceOrder | CancelOrder | AmendOrder, trades_max: int
    ) -> list[Event]:
        if type(command) is not AmendOrder:
            raise ValueError(f"command={command!r}: expected PlaceOrder, CancelOrder or AmendOrder")
        events = self._amend(command, trades_max)
        if self._waiting.count:
            self._trigger(events)
        return events

    def _place_instructed(self, command: PlaceOrder, trades_max: int) -> list[Event]:
        """Carry out an order that has instructions or waits for a trigger."""
        order_id, client_id = command.order_id, command.client_id
        if self.contains(order_id):
            return [CommandRejected(order_id, client_id, RejectReason.DUPLICATE_ORDER_ID)]
        if command.waits:
            if command.is_triggered_by(self.last_price_ticks):
                return [CommandRejected(order_id, client_id, RejectReason.WOULD_TRIGGER)]
            self._waiting.append(command)
            self.sequence += 1
            return [OrderWaits(self.sequence, command)]
        if command.instructions.post_only and self._crosses(command):
            return [CommandRejected(order_id, client_id, RejectReason.WOULD_CROSS)]
        events: list[Event] = []
        self._enter(command, command.quantity_lots, events, trades_max)
        if self._waiting.count:
            self._trigger(events)
        return events

    def _trigger(self, events: list[Event]) -> None:
        """Append an OrderTriggered for each order that a trade among the events triggers."""
        waiting = self._waiting
        first, last_ticks = events[0] if events else None, self.last_price_ticks
        if type(first) is Trade and last_ticks is not None:
            # Each trade of an order has a worse price than the one before, or the same. So the first and
            # the last price are the extremes.
            first_ticks = first.price_ticks
            low, high = (first_ticks, last_ticks) if first_ticks <= last_ticks else (last_ticks, first_ticks)
            above, below = waiting.above.keys, waiting.below.keys
            if not ((above and above[0] <= high) or (below and below[0] <= -low)):
                return
        for price_ticks in dict.fromkeys([event.price_ticks for event in events if type(event) is Trade]):
            for order in waiting.trigger(price_ticks):
                self.sequence += 1
                events.append(OrderTriggered(self.sequence, order))

    def _cancel(self, command: CancelOrder) -> list[Event]:
        order_id = command.order_id
        client_id = command.client_id
        if not type(order_id) is type(client_id) is str:
            check_ids(order_id, client_id)
        queued = self._orders.get(order_id)
        if queued is None:
            return [CommandRejected(order_id, client_id, _ORDER_NOT_OPEN)]
        order, level = queued.order, queued.level
        if order.client_id != client_id:
            return [CommandRejected(order_id, client_id, RejectReason.NOT_OWNER)]
        if level.is_waiting:
            return self._cancel_waiting(command, queued)
        # The same as _take_off, without the cost of a call.
        previous = queued.previous
        del self._orders[order_id]
        (self._bids if order.side is _BUY else self._asks).remove(queued)
        self.sequence = sequence = self.sequence + 1
        return [
            OrderCancelled(
                sequence,
                order,
                queued.remaining_lots,
                level.quantity_lots,
                level.orders,
                None if previous is None else previous.order.order_id,
                command.reason,
            )
        ]

    def _cancel_waiting(self, command: CancelOrder, queued: QueuedOrder) -> list[Event]:
        order, waiting = queued.order, self._waiting
        was_triggered = order.order_id in waiting.triggered
        if was_triggered:
            previous_order_id = waiting.remove_triggered(order.order_id)
        else:
            previous_order_id = queued.previous_order_id
            waiting.remove(order.order_id)
        self.sequence += 1
        return [WaitingCancelled(self.sequence, order, was_triggered, previous_order_id, command.reason)]
