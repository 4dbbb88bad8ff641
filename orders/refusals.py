"""Refusals of orders and cancels, in addition to the general ones in base/refusals.py."""

from base.refusals import Allowance, InvalidRequest, NotFound, Refusal, RefusalKind
from orders.messages import AmendRefusal

_AMEND_MESSAGES = {
    AmendRefusal.NOT_APPLICABLE: (
        "The order has no such value: a market order has no price, a trigger price ends with the trigger, "
        "and only a gtd order expires."
    ),
    AmendRefusal.QUANTITY_FILLED: "The new quantity must be above what is filled and prevented already.",
    AmendRefusal.WOULD_TRIGGER: "The last trade meets the new trigger price already.",
    AmendRefusal.WOULD_CROSS: "The post-only order would trade at the new price.",
    AmendRefusal.TOO_MANY_LEVELS: "The book has too many price levels for another one.",
}


class BeyondLimits(InvalidRequest):
    """The values are outside limits that change: an operator's for the instrument, or those of time."""


class OrderNotFound(NotFound):
    code = "order_not_found"
    default_message = "No order has this id."


class OrderNotOpen(Refusal):
    kind = RefusalKind.CONFLICT
    code = "order_not_open"
    default_message = "The order is already filled, cancelled or rejected."


class AmendRefused(Refusal):
    """The order can't be changed in this way. `details` has the reason for programs."""

    kind = RefusalKind.CONFLICT
    code = "amend_refused"

    def __init__(self, reason: AmendRefusal, *, allowance: Allowance | None = None) -> None:
        super().__init__(_AMEND_MESSAGES[reason], allowance=allowance)
        self.details = {"reason": reason.value}


class IdempotencyKeyReused(Refusal):
    kind = RefusalKind.KEY_REUSED
    code = "idempotency_key_reused"
    default_message = "This idempotency key belongs to another order of this client. Use a new key."
