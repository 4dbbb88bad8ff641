"""Amends: change an order in place, or take it off and let it enter again."""

from matching.engine.commands import AmendOrder, PlaceOrder, check_amend_order
from matching.engine.events import (
    CommandRejected,
    Event,
    OrderReduced,
    OrderWithdrawn,
    RejectReason,
    WaitingAmended,
)
from matching.engine.instructions import TimeInForce
from matching.engine.level import QueuedOrder
from matching.engine.matcher import Matcher


class AmendableBook(Matcher):
    """Carries out amends."""

    __slots__ = ()

    def _amend(self, command: AmendOrder, trades_max: int) -> list[Event]:
        """Change an order, and return no event if it has these numbers already."""
        check_amend_order(command)
        order_id = command.order_id
        queued = self._orders.get(order_id)
        if queued is None or order_id in self._waiting.triggered:
            return [CommandRejected(order_id, command.client_id, RejectReason.ORDER_NOT_OPEN)]
        amended = _amended(queued.order, command)
        refusal = self._refusal(command, queued, amended)
        if refusal is not None:
            return [CommandRejected(order_id, command.client_id, refusal)]
        if queued.level.is_waiting:
            return self._amend_waiting(queued, amended, command.changes_expiry)
        return self._amend_resting(queued, amended, trades_max)

    def _refusal(self, command: AmendOrder, queued: QueuedOrder, amended: PlaceOrder) -> RejectReason | None:
        """Return why the amend is refused, or None. The first reason that applies counts."""
        order, is_waiting = queued.order, queued.level.is_waiting
        if order.client_id != command.client_id:
            return RejectReason.NOT_OWNER
        keeps_place = _keeps_place(order, amended)
        if command.is_halted and (not keeps_place or command.changes_expiry):
            return RejectReason.INSTRUMENT_HALTED
        if (
            (command.price_ticks is not None and not order.has_limit)
            or (command.trigger_price_ticks is not None and not is_waiting)
            or (command.changes_expiry and order.instructions.time_in_force is not TimeInForce.GTD)
        ):
            return RejectReason.NOT_APPLICABLE
        if amended.quantity_lots <= order.quantity_lots - queued.remaining_lots:
            return RejectReason.QUANTITY_FILLED
        return None if keeps_place else self._entry_refusal(amended, is_waiting=is_waiting)

    def _entry_refusal(self, amended: PlaceOrder, *, is_waiting: bool) -> RejectReason | None:
        """Return why an amended order may not enter again, or None."""
        if is_waiting:
            is_triggered = amended.is_triggered_by(self.last_price_ticks)
            return RejectReason.WOULD_TRIGGER if is_triggered else None
        would_cross = amended.instructions.post_only and self._crosses(amended)
        return RejectReason.WOULD_CROSS if would_cross else None

    def _amend_resting(self, resting: QueuedOrder, amended: PlaceOrder, trades_max: int) -> list[Event]:
        order, level = resting.order, resting.level
        if amended == order:
            return []
        remaining_lots = resting.remaining_lots + amended.quantity_lots - order.quantity_lots
        self.sequence += 1
        if _keeps_place(order, amended):
            level.quantity_lots += remaining_lots - resting.remaining_lots
            resting.order, resting.remaining_lots = amended, remaining_lots
            return [
                OrderReduced(self.sequence, order, amended, remaining_lots, level.quantity_lots, level.orders)
            ]
        previous_order_id = resting.previous_order_id
        own, _ = self._sides(order.side)
        own.remove(resting)
        del self._orders[order.order_id]
        events: list[Event] = [
            OrderWithdrawn(
                self.sequence,
                order,
                amended,
                resting.remaining_lots,
                level.quantity_lots,
                level.orders,
                previous_order_id,
            )
        ]
        self._enter(amended, remaining_lots, events, trades_max)
        return events

    def _amend_waiting(self, queued: QueuedOrder, amended: PlaceOrder, changes_expiry: bool) -> list[Event]:
        order = queued.order
        if amended == order and not changes_expiry:
            return []
        self.sequence += 1
        previous_order_id = queued.previous_order_id
        keeps_place = _keeps_place(order, amended)
        if keeps_place:
            self._waiting.replace(amended)
        else:
            self._waiting.remove(order.order_id)
            self._waiting.append(amended)
        return [WaitingAmended(self.sequence, order, amended, keeps_place, previous_order_id)]


def _amended(order: PlaceOrder, command: AmendOrder) -> PlaceOrder:
    """Return the order with the command's numbers in place of its own."""
    price_ticks, quantity_lots = command.price_ticks, command.quantity_lots
    trigger_price_ticks = command.trigger_price_ticks
    return PlaceOrder(
        order.order_id,
        order.client_id,
        order.side,
        order.kind,
        order.price_ticks if price_ticks is None else price_ticks,
        order.quantity_lots if quantity_lots is None else quantity_lots,
        order.instructions,
        order.trigger_price_ticks if trigger_price_ticks is None else trigger_price_ticks,
    )


def _keeps_place(order: PlaceOrder, amended: PlaceOrder) -> bool:
    """Return whether the amend changes nothing, or only reduces the quantity."""
    return (
        amended.price_ticks == order.price_ticks
        and amended.trigger_price_ticks == order.trigger_price_ticks
        and amended.quantity_lots <= order.quantity_lots
    )
