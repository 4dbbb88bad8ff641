"""Why an order or a cancel is refused, beside the refusals of every request (base/refusals.py)."""

from base.refusals import InvalidRequest, NotFound, Refusal, RefusalKind


class BeyondLimits(InvalidRequest):
    """The values would be right under other limits, which an operator may set."""


class OrderNotFound(NotFound):
    code = "order_not_found"
    default_message = "No order has this id."


class InstrumentNotFound(NotFound):
    code = "instrument_not_found"
    default_message = "No instrument has this symbol. GET /instruments lists them."


class OrderNotOpen(Refusal):
    kind = RefusalKind.CONFLICT
    code = "order_not_open"
    default_message = "The order is already filled, cancelled or rejected."


class InstrumentHalted(Refusal):
    kind = RefusalKind.CONFLICT
    code = "instrument_halted"
    default_message = "Trading in this instrument is halted; cancels are taken."


class IdempotencyKeyReused(Refusal):
    kind = RefusalKind.KEY_REUSED
    code = "idempotency_key_reused"
    default_message = "This idempotency key belongs to another order of this client; use a new key."
