"""What a view may refuse with, one class a code. `web.errors` alone gives them their shape."""

from typing import Any

from rest_framework.exceptions import APIException


class Refusal(APIException):
    """An answer in the one error shape. Subclasses name status, code and message."""

    status_code = 500
    default_code = "error"
    default_detail = "The request was refused."

    def __init__(self, message: str | None = None, *, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.headers = headers or {}


class InvalidRequest(Refusal):
    """400: `fields` says which value is wrong and why."""

    status_code = 400
    default_code = "invalid_request"
    default_detail = "The request is not valid."

    def __init__(self, message: str | None = None, *, fields: dict[str, list[str]] | None = None) -> None:
        super().__init__(message)
        self.fields: Any = fields or {}


class BeyondLimits(InvalidRequest):
    """The same where the values were right under other limits, which an operator may change."""


class NotFound(Refusal):
    status_code = 404
    default_code = "not_found"
    default_detail = "Not found."


class OrderNotFound(NotFound):
    default_code = "order_not_found"
    default_detail = "No order has this id."


class InstrumentNotFound(NotFound):
    default_code = "instrument_not_found"
    default_detail = "No instrument has this symbol. GET /instruments lists them."


class UnsupportedMediaType(Refusal):
    """415: the body is not what it may be, or is encoded; the headers say what is taken."""

    status_code = 415
    default_code = "unsupported_media_type"
    default_detail = "The body must be JSON."


class OrderNotOpen(Refusal):
    status_code = 409
    default_code = "order_not_open"
    default_detail = "The order is already filled, cancelled or rejected."


class InstrumentHalted(Refusal):
    status_code = 409
    default_code = "instrument_halted"
    default_detail = "Trading in this instrument is halted; cancels are taken."


class IdempotencyKeyReused(Refusal):
    status_code = 422
    default_code = "idempotency_key_reused"
    default_detail = "This idempotency key belongs to another order of this client; use a new key."


class RateLimited(Refusal):
    status_code = 429
    default_code = "rate_limited"
    default_detail = "Too many requests of this client; wait for the seconds in Retry-After."


class Unavailable(Refusal):
    """503: the request was not taken and may be sent again."""

    status_code = 503
    default_code = "unavailable"
    default_detail = "The exchange is not available; the request was not taken. Try again after Retry-After."


class OutcomeUnknown(Refusal):
    """504: the command was, or may have been, taken, but no answer came in time."""

    status_code = 504
    default_code = "outcome_unknown"
    default_detail = (
        "No answer came in time; it may have been done. Look at what stands before you send it again."
    )
