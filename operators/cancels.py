"""Cancels by operators. The audit trail has one record before and one after the worker is asked.

After a crash in between, the second record is missing. The order itself then shows its outcome.
"""

from collections.abc import Collection, Sequence

from asgiref.sync import async_to_sync

from base.numbers import decimal_text
from operators.audit import Actor, Change, record
from operators.models import Act
from orders.models import Order, OrderStatus
from orders.operations import Cancellations, cancel_orders


def cancel_for_operator(orders: Sequence[Order], actor: Actor, *, note: str = "") -> Cancellations:
    """Cancel resting or waiting orders, whose instruments must be loaded.

    Call it on a thread, outside of a transaction. Raises DatabaseError if the audit trail can't be
    written. In that case nothing is cancelled.
    """
    requested = {"status": OrderStatus.CANCELLED.value}
    changes = [Change("order", str(order.pk), _state(order), requested) for order in orders]
    record(actor, Act.CANCEL, changes, note=note)
    result = async_to_sync(cancel_orders)(orders)
    done = {order.pk for order in result.cancelled}
    outcomes = [Change("order", str(order.pk), None, _outcome(order, done, result)) for order in orders]
    record(actor, Act.CANCEL_OUTCOME, outcomes, note=result.reason)
    return result


def _state(order: Order) -> dict[str, object]:
    return {
        "status": order.status,
        "client_id": order.client_id,
        "instrument": str(order.instrument),
        "side": order.side,
        "type": order.type,
        "price": None if order.price is None else decimal_text(order.price),
        "trigger_price": None if order.trigger_price is None else decimal_text(order.trigger_price),
        "remaining_quantity": decimal_text(order.remaining_quantity),
    }


def _outcome(order: Order, done: Collection[object], result: Cancellations) -> dict[str, object]:
    if order.pk in done:
        return {"outcome": "cancelled"}
    return {"outcome": "not cancelled" if result.failed else "no longer open"}
