"""What the parts of the desk share."""

from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, TypeVar

import msgspec
import uuid_utils
from django.conf import settings

from base.refusals import Allowance, OutcomeUnknown, Refusal, Unavailable
from instruments.directory import InstrumentDirectory
from orders.documents import OrderDocument, stored_state
from orders.gateway import GatewayReply, OrderGateway, Submission
from orders.gateway.outcomes import replies_of
from orders.guards import Guard
from orders.look_ups import DeskReads
from orders.messages import AwaitKey, ReplyKind
from orders.models import Order
from orders.refusals import OrderNotFound, OrderNotOpen

Result = TypeVar("Result")

# A cancel or an amend may need several replies and look-ups. Together they may take as long as one
# reply and one look-up, like an order.
CANCEL_SECONDS_MAX = settings.ORDER_REPLY_TIMEOUT_SECONDS + settings.DESK_READ_SECONDS_MAX


class OrderResult(msgspec.Struct, frozen=True):
    """An order as JSON. `replayed` is set if an earlier request with the same key placed it."""

    body: bytes
    replayed: bool
    allowance: Allowance | None


class DeskPart:
    """A part of the desk, with what all parts need."""

    def __init__(
        self,
        gateway: OrderGateway,
        reads: DeskReads,
        instruments: InstrumentDirectory,
        guard: Guard | None = None,
    ) -> None:
        self._gateway = gateway
        self._reads = reads
        self._instruments = instruments
        self._guard = guard  # of the connection whose requests this desk serves

    @property
    def _carried_guard(self) -> str | None:
        """The guard of a command that is made now."""
        return None if self._guard is None else self._guard.carried

    async def _submit(self, submission: Submission) -> GatewayReply | Refusal:
        """Send a command, and return its reply or its refusal."""
        command, partition, client_id, bucket = submission
        try:
            return await self._gateway.submit(
                command, partition=partition, client_id=client_id, client_bucket=bucket
            )
        except Refusal as refusal:
            return refusal

    async def _find_by_key(
        self, client_id: str, key: str, count: Callable[[], Awaitable[Allowance | None]]
    ) -> tuple[Order | None, Allowance | None]:
        """Return the order with this key, also if its request is still on its way to a worker.

        If it is not stored yet, `count` counts this request against a rate limit, and its allowance
        is returned. Raises RateLimited; Unavailable or OutcomeUnknown if a partition does not reply.
        """
        row = await self._reads.refused_orders((client_id, key))
        if row is not None:
            return row, None
        allowance = await count()
        submissions = [
            Submission(
                AwaitKey(
                    request_id=str(uuid_utils.uuid7()),
                    reply_to=self._gateway.process_id,
                    client_id=client_id,
                    idempotency_key=key,
                ),
                partition,
                None,
            )
            for partition in await self.partitions()
        ]
        replies_of(await self._gateway.submit_many(submissions), ReplyKind.DONE)
        return await self._reads.refused_orders((client_id, key)), allowance

    async def partitions(self) -> list[int]:
        """Return the partitions that have instruments. Raises Unavailable."""
        instruments = await self._instruments.all()
        return sorted({instrument.partition for instrument in instruments.values()})

    async def _first_partition(self) -> int:
        """Return the partition that counts requests about unknown orders. Raises Unavailable."""
        return min(await self.partitions(), default=0)


async def result_or_refusal(work: Coroutine[Any, Any, Result]) -> Result | Refusal:
    """Return the result of work on one of several orders, or its refusal."""
    try:
        return await work
    except Refusal as refusal:
        return refusal


def no_such_order(allowance: Allowance | None = None) -> OrderNotFound:
    return OrderNotFound(allowance=allowance)


def cancel_unknown(allowance: Allowance | None) -> OutcomeUnknown:
    return OutcomeUnknown(
        "No result arrived in time. The order may have been cancelled. You can safely send the cancel again.",
        allowance=allowance,
    )


def missing_from_book(row: Order | None, allowance: Allowance | None) -> Refusal:
    """Return the refusal of a change whose order is not in the book that it belongs to.

    `row` is the order's row, which was read after the worker's reply.
    """
    if row is not None and row.is_live:
        return Unavailable(
            "The order's instrument is being moved to another worker. The order was not changed. Send the"
            " request again after Retry-After.",
            allowance=allowance,
        )
    return OrderNotOpen(allowance=allowance)


def unfilled_document(row: Order) -> OrderDocument | None:
    """Return an order without fills as a document, or None if it has fills."""
    if row.filled_quantity:
        return None
    return OrderDocument(**stored_state(row, row.instrument.symbol), trades=[])


def least_allowance(allowances: Iterable[Allowance | None]) -> Allowance | None:
    """Return the allowance with the fewest requests left, or None if no limit was checked.

    Of equal ones, the last counts. If requests were refused, it tells when one more is allowed.
    """
    known = [allowance for allowance in allowances if allowance is not None]
    return min(reversed(known), key=lambda allowance: allowance.remaining, default=None)
