"""The answers to requests on /stream. marketdata/messages.py has the other messages.

Fields that are left out are UNSET. The results of orders are written as JSON by order_entry.py,
which puts the desk's own JSON into them. The classes of results describe what it writes.
"""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Struct, UnsetType

from base.documents import Count, described, one_of
from base.refusals import InvalidRequest, OutcomeUnknown, RateLimited, Refusal, Unavailable
from instruments.refusals import InstrumentHalted
from orders.answers import CancelledDocument, SwitchDocument
from orders.documents import OrderDocument
from orders.fields import ClientId
from orders.messages import AmendRefusal
from orders.refusals import AmendRefused, IdempotencyKeyReused, OrderNotFound, OrderNotOpen
from streaming.topics import Channel
from web.errors import status_of

RESULT_REFUSALS: tuple[type[Refusal], ...] = (
    InvalidRequest,
    OrderNotFound,
    OrderNotOpen,
    InstrumentHalted,
    AmendRefused,
    IdempotencyKeyReused,
    RateLimited,
    Unavailable,
    OutcomeUnknown,
)
"""The refusals of orders, amends and cancels."""

Status = Annotated[int, described(description="as over REST")]
RefusalStatus = Annotated[
    int,
    described(enum=sorted({status_of(refusal) for refusal in RESULT_REFUSALS}), description="as over REST"),
]
Echo = Annotated[Any, described(description="the id of the request, as it was sent")]


class Selected(Struct, kw_only=True):
    """The channels and instruments of a request, with its options."""

    channels: list[Channel]
    instruments: list[str]
    client_id: ClientId | UnsetType = UNSET
    interval: str | UnsetType = UNSET
    throttle_ms: Count | UnsetType = UNSET


class Subscribed(Selected, tag_field="type", tag="subscribed"):
    """The client follows these channels. The state of each comes next, if it has one."""


class Unsubscribed(Selected, tag_field="type", tag="unsubscribed"):
    """The client does not follow these channels any more."""


class Pong(Struct, tag_field="type", tag="pong"):
    """The answer to a `ping`."""

    id: Annotated[Any, described(description="the id of the ping, as it was sent; null if it had none")]


class ErrorDocument(Struct, kw_only=True):
    """Why an order, an amend or a cancel is refused, as over REST."""

    code: Annotated[str, one_of(refusal.code for refusal in RESULT_REFUSALS)]
    message: str
    reason: Annotated[
        str | UnsetType,
        described(enum=[reason.value for reason in AmendRefusal], description="only with `amend_refused`"),
    ] = UNSET
    fields: Annotated[
        dict[str, list[str]] | UnsetType,
        described(description="the errors of each invalid field; only with `invalid_request`"),
    ] = UNSET


class Result(Struct, tag_field="type", tag="result", kw_only=True):
    """What became of a request."""

    id: Echo
    status: Status


class RefusedResult(Result, tag="result", kw_only=True):
    """The request was refused."""

    status: RefusalStatus
    error: ErrorDocument


class PlaceOrderResult(Result, tag="result", kw_only=True):
    """The order as it is after matching."""

    status: Literal[200, 201]
    replayed: Annotated[
        Literal[True] | UnsetType, described(description="an earlier request placed the order; only with 200")
    ] = UNSET
    order: OrderDocument


class OrderResult(Result, tag="result", kw_only=True):
    """The order after an amend or a cancel."""

    status: Literal[200]
    order: OrderDocument


class ItemResult(Struct, kw_only=True):
    """The result of one order or amend of several. It has either `order` or `error`."""

    status: Status
    replayed: Literal[True] | UnsetType = UNSET
    order: OrderDocument | UnsetType = UNSET
    error: ErrorDocument | UnsetType = UNSET


class ManyResult(Result, tag="result", kw_only=True):
    """A result for each order or amend, in the order of the request."""

    status: Literal[200]
    results: list[ItemResult]


class CancelOrdersResult(CancelledDocument, tag_field="type", tag="result", kw_only=True):
    """What was cancelled, after all partitions have committed."""

    id: Echo
    status: Literal[200]


class CancelOnDisconnectResult(Result, tag="result", kw_only=True):
    """Whether the end of the connection cancels the client's orders."""

    status: Literal[200]
    client_id: ClientId
    enabled: bool


class CancelAfterResult(SwitchDocument, tag_field="type", tag="result", kw_only=True):
    """The client's dead man's switch."""

    id: Echo
    status: Literal[200]
