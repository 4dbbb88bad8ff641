"""Refusals of orders and cancels, in addition to the general ones in base/refusals.py."""

from base.refusals import InvalidRequest, NotFound, Refusal, RefusalKind


class BeyondLimits(InvalidRequest):
    """The values are outside the instrument's limits, which an operator may change."""


class OrderNotFound(NotFound):
    code = "order_not_found"
    default_message = "No order has this id."


class OrderNotOpen(Refusal):
    kind = RefusalKind.CONFLICT
    code = "order_not_open"
    default_message = "The order is already filled, cancelled or rejected."


class IdempotencyKeyReused(Refusal):
    kind = RefusalKind.KEY_REUSED
    code = "idempotency_key_reused"
    default_message = "This idempotency key belongs to another order of this client. Use a new key."
