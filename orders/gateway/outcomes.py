"""What the outcomes of several commands of one request mean together."""

from collections.abc import Sequence

from base.refusals import OutcomeUnknown, RateLimited, Refusal, Unavailable
from orders.gateway.gateway import GatewayReply
from orders.messages import ReplyKind


def replies_of(outcomes: Sequence[GatewayReply | Refusal], expected: ReplyKind) -> list[GatewayReply]:
    """Return the replies of commands that all parts of the exchange must carry out.

    Raises the refusal that leaves most open, if any command was refused or has another reply.
    """
    replies: list[GatewayReply] = []
    failures: list[Refusal] = []
    for outcome in outcomes:
        if isinstance(outcome, Refusal):
            failures.append(outcome)
        elif outcome.reply.kind is not expected:
            failures.append(Unavailable(outcome.reply.body.decode() or None, allowance=outcome.allowance))
        else:
            replies.append(outcome)
    if failures:
        raise with_advice(least_certain(failures))
    return replies


def least_certain(refusals: list[Refusal]) -> Refusal:
    """Return the refusal of several that leaves most open: an unknown outcome rather than a limit."""
    return max(refusals, key=lambda refusal: refusal.kind.value)


def with_advice(failure: Refusal) -> Refusal:
    """Return the refusal of a request that may be carried out in part."""
    if isinstance(failure, OutcomeUnknown):
        return OutcomeUnknown(
            "No result arrived in time from a part of the exchange. You can safely send the request again.",
            allowance=failure.allowance,
        )
    if isinstance(failure, RateLimited):
        return failure
    return Unavailable(
        "A part of the exchange did not take the request. What the others did stands. Send it again after "
        "Retry-After.",
        allowance=failure.allowance,
    )
