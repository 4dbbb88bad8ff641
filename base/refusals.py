"""Refusals: exceptions for requests that are refused, independent of the protocol.

REST and the stream convert them into answers. A refusal has a kind, which decides how a protocol
answers it, a code for programs, and a message for people. Further classes are defined beside the
code that raises them, for example in orders/refusals.py.
"""

import enum
from typing import NamedTuple


class RefusalKind(enum.Enum):
    """The meaning of a refusal for the client."""

    INVALID = enum.auto()  # the same request will always be refused
    NOT_FOUND = enum.auto()
    CONFLICT = enum.auto()  # the current state does not allow the request
    KEY_REUSED = enum.auto()  # the idempotency key belongs to another request
    UNSUPPORTED = enum.auto()  # the content's media type or coding is not supported
    RATE_LIMITED = enum.auto()  # the request may be sent again later
    UNAVAILABLE = enum.auto()  # the request was not processed and may be sent again
    OUTCOME_UNKNOWN = enum.auto()  # the request may have been processed
    FAILED = enum.auto()  # an error in the exchange


class Allowance(NamedTuple):
    """How much of a rate limit a client has left."""

    limit: int  # requests in each window
    remaining: int  # requests that are still allowed now
    reset_seconds: int  # seconds until more are allowed


class Refusal(Exception):
    """The request is refused. Subclasses define the kind, the code and the default message."""

    kind = RefusalKind.FAILED
    code = "error"
    default_message = "The request was refused."

    def __init__(self, message: str | None = None, *, allowance: Allowance | None = None) -> None:
        self.message = message or self.default_message
        super().__init__(self.message)
        self.allowance = allowance
        self.details: dict[str, str] = {}  # further values for programs, by name


FIELDS_NAMED_MAX = 10  # an answer names this many unknown fields or parameters
FIELD_NAME_CHARACTERS_MAX = 64  # an answer shows this much of a name from the client


class InvalidRequest(Refusal):
    """The request is invalid. `fields` has the error messages for each invalid field."""

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
    """The client has sent too many requests. `retry_after_seconds` is at least 1."""

    kind = RefusalKind.RATE_LIMITED
    code = "rate_limited"
    default_message = "Too many requests from this client. Wait for the seconds in Retry-After."

    def __init__(
        self, message: str | None = None, *, allowance: Allowance | None = None, retry_after_seconds: int = 1
    ) -> None:
        super().__init__(message, allowance=allowance)
        self.retry_after_seconds = retry_after_seconds


class Unavailable(Refusal):
    """The request was not processed and may be sent again."""

    kind = RefusalKind.UNAVAILABLE
    code = "unavailable"
    default_message = (
        "The exchange is not available. The request was not processed. Try again after Retry-After."
    )


class OutcomeUnknown(Refusal):
    """The command may have been processed, but no reply arrived in time."""

    kind = RefusalKind.OUTCOME_UNKNOWN
    code = "outcome_unknown"
    default_message = (
        "No result arrived in time. The request may have been processed. Check before you send it again."
    )
