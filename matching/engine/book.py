"""The order book of one instrument: takes commands, returns events, matches by price-time priority.

Invariants, after every call:
- The best bid is below the best ask.
- At each price, the order that rested first is filled first. A trade has the resting order's price.
- `sequence` counts the changes of the book without a gap. A command's events describe all changes.
- A command that raises has changed nothing.

Cost: an order takes O(trades) + O(log levels), a cancel O(1), and a fill O(1), however long its
level is. Memory is proportional to the resting orders, about 300 bytes for each one with its ids.
benchmarks/engine.py measures both. docs/adr/0002-engine-data-structures.md describes the
alternatives that were tried.

Known limit: the book knows an order's id only while the order rests. The database makes sure that
ids are unique over time.
"""

from collections.abc import Sequence

from matching.engine.book_side import BookSide
from matching.engine.commands import (
    INTEGER_MAX,
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
    OrderRested,
    RejectReason,
    RemainderCancelled,
    Trade,
)
from matching.engine.resting_orders import RestingOrders

_BUY = Side.BUY  # Looking enum members up is slow, so it is done once: see commands.py.
_LIMIT = OrderKind.LIMIT
_MARKET = OrderKind.MARKET
_TOO_MANY_TRADES = CancelReason.TOO_MANY_TRADES


class OrderBook(RestingOrders):
    """Carries out commands, and takes them back."""

    __slots__ = ()

    def process(self, command: PlaceOrder | CancelOrder, trades_max: int = INTEGER_MAX) -> list[Event]:
        """Carry out one command and return its events in order.

        A PlaceOrder gives its Trades, then OrderRested or RemainderCancelled if a part of the order
        remains. A CancelOrder gives OrderCancelled. A refused command gives one CommandRejected. An
        order makes at most `trades_max` trades, which must be at least 1. If it would trade again,
        its remainder is cancelled, because it can't rest.

        Raises ValueError, before any change, if the command is impossible: it has another type, or
        a price or quantity that is not a positive integer.
        """
        if type(command) is PlaceOrder:
            return self._place(command, trades_max)
        if type(command) is CancelOrder:
            return self._cancel(command)
        raise ValueError(f"command={command!r}: expected PlaceOrder or CancelOrder")

    def _place(self, command: PlaceOrder, trades_max: int) -> list[Event]:
        """Trade with the other side, and rest the remainder of a limit order."""
        order_id = command.order_id
        client_id = command.client_id
        side = command.side
        price_ticks = command.price_ticks
        remaining_lots = command.quantity_lots
        kind = command.kind
        is_limit = kind is _LIMIT
        if not (  # the conditions of check_place_order, without the cost of a call
            type(price_ticks) is type(remaining_lots) is int
            and (0 < price_ticks <= INTEGER_MAX if is_limit else kind is _MARKET and price_ticks == 0)
            and 0 < remaining_lots <= INTEGER_MAX
            and type(order_id) is type(client_id) is str
            and type(side) is Side
        ):
            check_place_order(command)
        if order_id in self._orders:
            return [CommandRejected(order_id, client_id, RejectReason.DUPLICATE_ORDER_ID)]
        if side is _BUY:
            own, opposite = self._bids, self._asks
        else:
            own, opposite = self._asks, self._bids
        worst_key = price_ticks * opposite.key_sign if is_limit else INTEGER_MAX
        events: list[Event] = []
        if opposite.keys and opposite.keys[0] <= worst_key:
            remaining_lots = self._match(command, opposite, worst_key, events, trades_max)
            if not remaining_lots:
                return events
            if opposite.keys and opposite.keys[0] <= worst_key:
                events.append(RemainderCancelled(order_id, client_id, remaining_lots, _TOO_MANY_TRADES))
                return events
        if is_limit:
            order = own.append(order_id, client_id, price_ticks, remaining_lots)
            self._orders[order_id] = order
            self.sequence = sequence = self.sequence + 1
            level = order.level
            events.append(
                OrderRested(
                    sequence,
                    order_id,
                    client_id,
                    side,
                    price_ticks,
                    remaining_lots,
                    level.quantity_lots,
                    level.orders,
                )
            )
        else:
            events.append(RemainderCancelled(order_id, client_id, remaining_lots))
        return events

    def _match(
        self, taker: PlaceOrder, makers: BookSide, worst_key: int, events: list[Event], trades_max: int
    ) -> int:
        """Trade with the best levels up to `worst_key`. Returns the taker's remaining lots."""
        taker_order_id, taker_client_id, taker_side = taker.order_id, taker.client_id, taker.side
        remaining_lots = taker.quantity_lots
        orders = self._orders
        sequence = self.sequence
        last_sequence = sequence + trades_max
        while remaining_lots and sequence < last_sequence and (keys := makers.keys) and keys[0] <= worst_key:
            level = makers.levels[keys[0]]
            price_ticks = level.price_ticks
            level_quantity_lots, level_orders = level.quantity_lots, level.orders
            maker = level.first
            while remaining_lots and maker is not None:
                quantity_lots = maker.remaining_lots
                filled_maker = quantity_lots <= remaining_lots
                if filled_maker:
                    level_orders -= 1
                    maker_remaining_lots = 0
                else:
                    maker.remaining_lots = maker_remaining_lots = quantity_lots - remaining_lots
                    quantity_lots = remaining_lots
                sequence += 1
                remaining_lots -= quantity_lots
                level_quantity_lots -= quantity_lots
                events.append(
                    Trade(
                        sequence,
                        maker.order_id,
                        maker.client_id,
                        taker_order_id,
                        taker_client_id,
                        taker_side,
                        price_ticks,
                        quantity_lots,
                        maker_remaining_lots,
                        level_quantity_lots,
                        level_orders,
                    )
                )
                if filled_maker:
                    del orders[maker.order_id]
                    following = maker.next
                    # Unlink in both directions, so that a chain of orders is not freed recursively.
                    maker.next = None
                    if following is not None:
                        following.previous = None
                    maker = following
                    if sequence >= last_sequence:
                        break
            level.first = maker
            if maker is None:
                level.last = None
                makers.drop_best()
            else:
                maker.previous = None
                level.quantity_lots, level.orders = level_quantity_lots, level_orders
        self.sequence = sequence
        return remaining_lots

    def undo(self, events: Sequence[Event]) -> None:
        """Take back the latest changes of the book, given their events in order.

        Cost: O(events log levels). Raises ValueError if the events are not the latest ones: then
        the book is no longer valid.
        """
        for event in reversed(events):
            if isinstance(event, CommandRejected | RemainderCancelled):
                continue
            if event.sequence != self.sequence:
                raise ValueError(f"sequence={event.sequence}: the book's latest change is {self.sequence}")
            if isinstance(event, Trade):
                self._undo_trade(event)
            elif isinstance(event, OrderRested):
                own, _ = self._sides(event.side)
                own.remove(self._orders.pop(event.order_id))
            else:
                own, _ = self._sides(event.side)
                previous = event.previous_order_id
                self._orders[event.order_id] = own.put_back(
                    event.order_id,
                    event.client_id,
                    event.price_ticks,
                    event.remaining_lots,
                    None if previous is None else self._orders[previous],
                )
            self.sequence -= 1

    def _undo_trade(self, trade: Trade) -> None:
        """Put the maker back as the first order of its level, or give it back its traded lots."""
        _, own = self._sides(trade.taker_side)
        if trade.maker_remaining_lots:
            maker = self._orders[trade.maker_order_id]
            maker.remaining_lots += trade.quantity_lots
            maker.level.quantity_lots += trade.quantity_lots
        else:
            self._orders[trade.maker_order_id] = own.put_back(
                trade.maker_order_id, trade.maker_client_id, trade.price_ticks, trade.quantity_lots, None
            )

    def _cancel(self, command: CancelOrder) -> list[Event]:
        order_id = command.order_id
        client_id = command.client_id
        if not type(order_id) is type(client_id) is str:
            check_ids(order_id, client_id)
        order = self._orders.get(order_id)
        if order is None:
            return [CommandRejected(order_id, client_id, RejectReason.ORDER_NOT_OPEN)]
        if order.client_id != client_id:
            return [CommandRejected(order_id, client_id, RejectReason.NOT_OWNER)]
        level = order.level
        side = level.side
        previous = order.previous
        del self._orders[order_id]
        (self._bids if side is _BUY else self._asks).remove(order)
        self.sequence = sequence = self.sequence + 1
        return [
            OrderCancelled(
                sequence,
                order_id,
                client_id,
                side,
                level.price_ticks,
                order.remaining_lots,
                level.quantity_lots,
                level.orders,
                None if previous is None else previous.order_id,
                command.reason,
            )
        ]
