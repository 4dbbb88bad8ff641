"""Lets an order enter the book: it trades with the other side, and its remainder rests or ends.

`_match` is the loop that almost every order runs. Instructions have methods of their own, so that
they cost nothing to orders without them.
"""

from matching.engine.book_side import BookSide
from matching.engine.commands import INTEGER_MAX, CancelReason, PlaceOrder, Side
from matching.engine.events import (
    Event,
    MatchPrevented,
    OrderCancelled,
    OrderRested,
    RemainderCancelled,
    Trade,
)
from matching.engine.instructions import SelfTradePrevention, TimeInForce
from matching.engine.level import QueuedOrder
from matching.engine.undo import UndoableBook

_BUY = Side.BUY  # Looking enum members up is slow, so it is done once: see commands.py.
_FOK = TimeInForce.FOK
_IOC = TimeInForce.IOC
_NONE = SelfTradePrevention.NONE
_CANCEL_TAKER = SelfTradePrevention.CANCEL_TAKER
_CANCEL_MAKER = SelfTradePrevention.CANCEL_MAKER
_CANCEL_BOTH = SelfTradePrevention.CANCEL_BOTH
_DECREMENT = SelfTradePrevention.DECREMENT


class Matcher(UndoableBook):
    """Matches orders that enter the book."""

    __slots__ = ()

    def _enter(self, order: PlaceOrder, remaining_lots: int, events: list[Event], trades_max: int) -> None:
        """Trade with the other side, then rest or cancel the remainder. Appends the events.

        OrderBook.process does the same for orders without instructions, with fewer steps.
        """
        instructions = order.instructions
        _, opposite = self._sides(order.side)
        worst_key = order.price_ticks * opposite.key_sign if order.has_limit else INTEGER_MAX
        prevention = instructions.self_trade_prevention
        if instructions.post_only and self._crosses(order):
            events.append(RemainderCancelled(order, remaining_lots, CancelReason.WOULD_CROSS))
            return
        if instructions.time_in_force is _FOK and not self._can_fill(order, opposite, worst_key, trades_max):
            events.append(RemainderCancelled(order, remaining_lots, CancelReason.UNFILLED_FOK))
            return
        if opposite.keys and opposite.keys[0] <= worst_key:
            if prevention is _NONE:
                remaining_lots = self._match(order, remaining_lots, opposite, worst_key, events, trades_max)
            else:
                remaining_lots, is_stopped = self._match_preventing(
                    order,
                    remaining_lots,
                    opposite,
                    worst_key=worst_key,
                    events=events,
                    trades_max=trades_max,
                )
                if is_stopped:
                    events.append(RemainderCancelled(order, remaining_lots, CancelReason.SELF_TRADE))
                    return
            if not remaining_lots:
                return
        self._end_entry(order, remaining_lots, opposite, worst_key, events)

    def _end_entry(
        self,
        order: PlaceOrder,
        remaining_lots: int,
        opposite: BookSide,
        worst_key: int,
        events: list[Event],
    ) -> None:
        """Rest the remainder of an order that does not trade any more, or cancel it."""
        if opposite.keys and opposite.keys[0] <= worst_key:
            events.append(RemainderCancelled(order, remaining_lots, CancelReason.TOO_MANY_TRADES))
        elif not order.has_limit:
            events.append(RemainderCancelled(order, remaining_lots, CancelReason.NO_LIQUIDITY))
        elif order.instructions.time_in_force is _IOC:
            events.append(RemainderCancelled(order, remaining_lots, CancelReason.UNFILLED_IOC))
        else:
            events.append(self._rest(order, remaining_lots))

    def _rest(self, order: PlaceOrder, remaining_lots: int) -> OrderRested:
        own, _ = self._sides(order.side)
        self._orders[order.order_id] = queued = own.append(order, order.price_ticks, remaining_lots)
        self.sequence += 1
        level = queued.level
        return OrderRested(self.sequence, order, remaining_lots, level.quantity_lots, level.orders)

    def _crosses(self, order: PlaceOrder) -> bool:
        """Return whether a limit order's price meets the other side's best price."""
        _, opposite = self._sides(order.side)
        return bool(opposite.keys) and opposite.keys[0] <= order.price_ticks * opposite.key_sign

    def _match(  # noqa: PLR0917 - passing keywords would cost time
        self,
        taker: PlaceOrder,
        remaining_lots: int,
        makers: BookSide,
        worst_key: int,
        events: list[Event],
        trades_max: int,
    ) -> int:
        """Trade with the best levels up to `worst_key`. Returns the taker's remaining lots.

        The best level must be within `worst_key`, and `trades_max` at least 1.
        """
        orders = self._orders
        sequence = self.sequence
        last_sequence = sequence + trades_max
        price_ticks = 0
        while remaining_lots and sequence < last_sequence and (keys := makers.keys) and keys[0] <= worst_key:
            level = makers.levels[keys[0]]
            price_ticks = level.price_ticks
            level_lots, level_orders = level.quantity_lots, level.orders
            maker = level.first
            while remaining_lots and maker is not None:
                order = maker.order
                lots = maker.remaining_lots
                sequence += 1
                if lots > remaining_lots:
                    maker.remaining_lots = kept_lots = lots - remaining_lots
                    lots, remaining_lots = remaining_lots, 0
                    level_lots -= lots
                    events.append(
                        Trade(sequence, order, taker, price_ticks, lots, kept_lots, level_lots, level_orders)
                    )
                    break
                remaining_lots -= lots
                level_lots -= lots
                level_orders -= 1
                events.append(Trade(sequence, order, taker, price_ticks, lots, 0, level_lots, level_orders))
                del orders[order.order_id]
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
                level.quantity_lots, level.orders = level_lots, level_orders
        self.sequence = sequence
        self.last_price_ticks = price_ticks
        return remaining_lots

    def _match_preventing(
        self,
        taker: PlaceOrder,
        remaining_lots: int,
        makers: BookSide,
        *,
        worst_key: int,
        events: list[Event],
        trades_max: int,
    ) -> tuple[int, bool]:
        """Trade like `_match`, but not with orders of the same client.

        Returns the taker's remaining lots, and whether self-trade prevention ends the taker.
        """
        prevention = taker.instructions.self_trade_prevention
        last_sequence = self.sequence + trades_max
        while remaining_lots and (maker := makers.best_order(worst_key)) is not None:
            if maker.order.client_id != taker.client_id:
                if self.sequence >= last_sequence:
                    break
                remaining_lots = self._match(taker, remaining_lots, makers, worst_key, events, 1)
                continue
            if prevention is _CANCEL_TAKER:
                return remaining_lots, True
            last_sequence += 1  # only trades count
            if prevention is _DECREMENT:
                prevented = self._prevent(taker, maker, min(remaining_lots, maker.remaining_lots), makers)
                events.append(prevented)
                remaining_lots -= prevented.quantity_lots
                if not remaining_lots:
                    return 0, True
                continue
            events.append(self._take_off(maker, CancelReason.SELF_TRADE))
            if prevention is _CANCEL_BOTH:
                return remaining_lots, True
        return remaining_lots, False

    def _prevent(
        self, taker: PlaceOrder, maker: QueuedOrder, quantity_lots: int, makers: BookSide
    ) -> MatchPrevented:
        """Take lots off a maker, which leaves the book if it has no more."""
        maker.remaining_lots -= quantity_lots
        level = maker.level
        level.quantity_lots -= quantity_lots
        if not maker.remaining_lots:
            del self._orders[maker.order.order_id]
            makers.remove(maker)
        self.sequence += 1
        return MatchPrevented(
            self.sequence,
            maker.order,
            taker,
            quantity_lots,
            maker.remaining_lots,
            level.quantity_lots,
            level.orders,
        )

    def _take_off(self, queued: QueuedOrder, reason: CancelReason) -> OrderCancelled:
        """Cancel a resting order."""
        order, level = queued.order, queued.level
        previous_order_id = queued.previous_order_id
        del self._orders[order.order_id]
        (self._bids if order.side is _BUY else self._asks).remove(queued)
        self.sequence = sequence = self.sequence + 1
        return OrderCancelled(
            sequence,
            order,
            queued.remaining_lots,
            level.quantity_lots,
            level.orders,
            previous_order_id,
            reason,
        )

    def _can_fill(self, order: PlaceOrder, makers: BookSide, worst_key: int, trades_max: int) -> bool:
        """Return whether the order's whole quantity can trade at once. O(trades log levels).

        Under CANCEL_MAKER, orders of the same client are skipped. Under the other rules of
        self-trade prevention, the first of them ends the order.
        """
        prevention = order.instructions.self_trade_prevention
        missing_lots = order.quantity_lots
        for level in makers.best_first():
            if level.price_ticks * makers.key_sign > worst_key:
                return False
            for maker in level:
                if prevention is not _NONE and maker.order.client_id == order.client_id:
                    if prevention is _CANCEL_MAKER:
                        continue
                    return False
                missing_lots -= maker.remaining_lots
                trades_max -= 1
                if missing_lots <= 0:
                    return True
                if not trades_max:
                    return False
        return False
