"""Cancels many orders of a client: by their ids, or all of them at once or after a time."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec
import uuid_utils

from base.refusals import Allowance, OutcomeUnknown, RateLimited, Refusal, Unavailable
from base.times import from_unix_milliseconds
from instruments.directory import TradedInstrument
from orders.desk.changing import Changing
from orders.desk.parts import OrderResult, least_certain
from orders.gateway import GatewayReply, Submission
from orders.messages import CancelAfterCommand, CancelAllCommand, CancelledOrders, ReplyKind
from orders.refusals import OrderNotFound, OrderNotOpen
from orders.requests import AmendRequest

_decode_cancelled = msgspec.json.Decoder(CancelledOrders).decode
_decode_due = msgspec.json.Decoder(int | None).decode


class MassCancelResult(msgspec.Struct, frozen=True):
    """The orders that a request cancelled, and those that it did not find or that had ended."""

    cancelled: list[str]
    cancelled_count: int
    not_open: list[str]
    not_found: list[str]
    allowance: Allowance | None = None


class SwitchResult(msgspec.Struct, frozen=True):
    """A client's dead man's switch. `cancel_at` is None if it is not armed."""

    cancel_at: datetime | None
    allowance: Allowance | None = None


class MassChanging(Changing):
    """The part of the desk that changes many orders with one request."""

    async def amend_many(self, amends: Sequence["AmendOne | Refusal"]) -> list[OrderResult | Refusal]:
        """Amend several orders, and return the result of each in the given order."""
        return await asyncio.gather(*(self._amend_or_refuse(amend) for amend in amends))

    async def _amend_or_refuse(self, amend: "AmendOne | Refusal") -> OrderResult | Refusal:
        if isinstance(amend, Refusal):
            return amend
        try:
            return await self.amend_one(amend)
        except Refusal as refusal:
            return refusal

    async def amend_one(self, amend: "AmendOne") -> OrderResult:
        """Amend the order that the amend names. Raises what `amend_by_id` raises."""
        if amend.order_id is not None:
            return await self.amend_by_id(amend.order_id, amend.changes)
        assert amend.key is not None  # noqa: S101 - one of both is given
        return await self.amend_by_key(*amend.key, amend.changes)

    async def cancel_by_ids(self, order_ids: Sequence[UUID], *, owner: str | None) -> MassCancelResult:
        """Cancel the orders with these ids. Each counts as one cancel.

        Raises RateLimited, Unavailable, OutcomeUnknown: then some of the orders may be cancelled.
        """
        results = await asyncio.gather(
            *(self.cancel_by_id(order_id, owner=owner) for order_id in order_ids), return_exceptions=True
        )
        cancelled: list[str] = []
        not_open: list[str] = []
        not_found: list[str] = []
        failures: list[Refusal] = []
        allowance: Allowance | None = None
        for order_id, result in zip(order_ids, results, strict=True):
            if isinstance(result, BaseException) and not isinstance(result, Refusal):
                raise result
            allowance = _smaller(allowance, result.allowance)
            if isinstance(result, OrderResult):
                cancelled.append(str(order_id))
            elif isinstance(result, OrderNotOpen):
                not_open.append(str(order_id))
            elif isinstance(result, OrderNotFound):
                not_found.append(str(order_id))
            else:
                failures.append(result)
        if failures:
            raise _with_advice(least_certain(failures))
        return MassCancelResult(cancelled, len(cancelled), not_open, not_found, allowance)

    async def cancel_by_key(self, client_id: str, key: str) -> MassCancelResult:
        """Cancel the order that has this idempotency key. Raises what `cancel_by_ids` raises."""
        row = await self._reads.refused_orders((client_id, key))
        if row is None:
            allowance = await self._count_refused_cancel_of(client_id)
            return MassCancelResult([], 0, [], [key], allowance)
        return await self.cancel_by_ids([row.order_id], owner=client_id)

    async def cancel_all(
        self, client_id: str, *, instrument: TradedInstrument | None, side: str | None
    ) -> MassCancelResult:
        """Cancel everything of a client that is open or pending: one command for each partition.

        It counts as one cancel. Raises RateLimited, Unavailable, OutcomeUnknown: then some of the
        orders may be cancelled.
        """
        partitions = await self._partitions() if instrument is None else [instrument.partition]
        commands = [
            CancelAllCommand(
                request_id=str(uuid_utils.uuid7()),
                reply_to=self._gateway.process_id,
                client_id=client_id,
                instrument=None if instrument is None else instrument.symbol,
                side=side,
            )
            for _ in partitions
        ]
        answers = await self._submit_to_all(commands, partitions, client_id, ReplyKind.CANCELLED_ALL)
        cancelled = [_decode_cancelled(answer.reply.body) for answer in answers]
        return MassCancelResult(
            [order_id for some in cancelled for order_id in some.order_ids],
            sum(some.count for some in cancelled),
            [],
            [],
            answers[0].allowance if answers else None,
        )

    async def cancel_after(self, client_id: str, timeout_seconds: int) -> SwitchResult:
        """Set a client's dead man's switch in all partitions, or remove it if the time is 0.

        It counts as one cancel. Raises RateLimited, Unavailable, OutcomeUnknown: then it may be set
        in some of the partitions.
        """
        partitions = await self._partitions()
        commands = [
            CancelAfterCommand(
                request_id=str(uuid_utils.uuid7()),
                reply_to=self._gateway.process_id,
                client_id=client_id,
                timeout_seconds=timeout_seconds,
            )
            for _ in partitions
        ]
        answers = await self._submit_to_all(commands, partitions, client_id, ReplyKind.DONE)
        due = [due_ms for answer in answers if (due_ms := _decode_due(answer.reply.body)) is not None]
        return SwitchResult(
            from_unix_milliseconds(max(due)) if due else None, answers[0].allowance if answers else None
        )

    async def _partitions(self) -> list[int]:
        """Return the partitions that have instruments."""
        instruments = await self._instruments.all()
        return sorted({instrument.partition for instrument in instruments.values()})

    async def _submit_to_all(
        self,
        commands: Sequence[CancelAllCommand | CancelAfterCommand],
        partitions: Sequence[int],
        client_id: str,
        expected: ReplyKind,
    ) -> list[GatewayReply]:
        """Send a command to each partition and return the replies. The first one is counted."""
        outcomes = await self._gateway.submit_many(
            [
                Submission(command, partition, None if number else client_id)
                for number, (command, partition) in enumerate(zip(commands, partitions, strict=True))
            ]
        )
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
            raise _with_advice(least_certain(failures))
        return replies


class AmendOne(msgspec.Struct, frozen=True):
    """One amend of several: the order, by its id or by its client and key, and the changes."""

    order_id: UUID | None
    key: tuple[str, str] | None
    changes: AmendRequest


def _with_advice(failure: Refusal) -> Refusal:
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


def _smaller(one: Allowance | None, other: Allowance | None) -> Allowance | None:
    """Return the allowance with fewer requests left."""
    if one is None or other is None:
        return one or other
    return min(one, other, key=lambda allowance: allowance.remaining)
