"""Why a request is refused, for whatever brings requests in: REST and the stream give refusals their own shapes.

A refusal has a kind, which decides how a protocol answers it, a code for programs and a message for people. Each
kind of request has its own classes beside its code: orders/refusals.py, for example.
"""

import enum
from typing import NamedTuple


class RefusalKind(enum.Enum):
    """What a client may conclude."""

    INVALID = enum.auto()  # the same request is refused again
    NOT_FOUND = enum.auto()
    CONFLICT = enum.auto()  # with the state that something has now
    KEY_REUSED = enum.auto()  # an idempotency key belongs to another request
    UNSUPPORTED = enum.auto()  # the content is of a kind that nobody reads here
    RATE_LIMITED = enum.auto()  # later requests are taken
    UNAVAILABLE = enum.auto()  # it was not taken, and may be sent again
    OUTCOME_UNKNOWN = enum.auto()  # it may have been taken
    FAILED = enum.auto()


class Allowance(NamedTuple):
    """What a rate limit leaves to a client."""

    limit: int  # requests in each window
    remaining: int  # of them
    reset_seconds: int  # until more are allowed


class Refusal(Exception):
    """The request is refused. Subclasses name kind, code and message."""

    kind = RefusalKind.FAILED
    code = "error"
    default_message = "The request was refused."

    def __init__(self, message: str | None = None, *, allowance: Allowance | None = None) -> None:
        self.message = message or self.default_message
        super().__init__(self.message)
        self.allowance = allowance


class InvalidRequest(Refusal):
    """`fields` says which value is wrong and why."""

    kind = RefusalKind.INVALID
    code = "invalid_request"
    default_message = "The request is not valid."

    def __init__(self, message: str | None = None, *, fields: dict[str, list[str]] | None = None) -> None:
        super().__init__(message)
        self.fields = fields or {}


class NotFound(Refusal):
    kind = RefusalKind.NOT_FOUND
    code = "not_found"
    default_message = "Not found."


class RateLimited(Refusal):
    """`retry_after_seconds` is at least 1."""

    kind = RefusalKind.RATE_LIMITED
    code = "rate_limited"
    default_message = "Too many requests of this client; wait for the seconds in Retry-After."

    def __init__(
        self, message: str | None = None, *, allowance: Allowance | None = None, retry_after_seconds: int = 1
    ) -> None:
        super().__init__(message, allowance=allowance)
        self.retry_after_seconds = retry_after_seconds


class Unavailable(Refusal):
    """The request was not taken and may be sent again."""

    kind = RefusalKind.UNAVAILABLE
    code = "unavailable"
    default_message = "The exchange is not available; the request was not taken. Try again after Retry-After."


class OutcomeUnknown(Refusal):
    """The command was, or may have been, taken, but no answer came in time."""

    kind = RefusalKind.OUTCOME_UNKNOWN
    code = "outcome_unknown"
    default_message = (
        "No answer came in time; it may have been done. Look at what stands before you send it again."
    )
