"""Cancels live orders by their ids.

An order's id tells which instruments it may belong to, and their workers know which orders are
live. The database is read only if none of the workers has the order.

A cancel goes to the gateway at once if the instruments are known. So what one connection sends
enters each partition's stream in that order.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from uuid import UUID

import uuid_utils

from base.encoding import encode_json
from base.refusals import Allowance, OutcomeUnknown, Refusal, Unavailable
from orders.desk.parts import (
    CANCEL_SECONDS_MAX,
    DeskPart,
    OrderResult,
    cancel_unknown,
    missing_from_book,
    no_such_order,
    result_or_refusal,
)
from orders.gateway import GatewayReply, Submission
from orders.messages import NOT_OWNER, CancelCommand, Reply, ReplyKind
from orders.models import LIVE_STATUSES, Order, OrderStatus
from orders.order_ids import bucket_of, client_bucket, hint_of
from orders.refusals import OrderNotOpen
from orders.selectors import find_order, find_order_row

Outcome = GatewayReply | Refusal


class Cancelling(DeskPart):
    """The part of the desk that cancels orders by their ids."""

    async def cancel_by_id(self, order_id: UUID, *, owner: str | None) -> OrderResult:
        """Cancel an order. If `owner` is given, the orders of all other clients count as unknown.

        Raises OrderNotFound, OrderNotOpen, RateLimited, Unavailable, OutcomeUnknown.
        """
        try:
            async with asyncio.timeout(CANCEL_SECONDS_MAX):
                attempts = await self._attempts(order_id, owner)
                outcome = await self._submit(attempts[0]) if attempts else None
                return await self._finish_cancel(order_id, owner, attempts, outcome)
        except TimeoutError:
            raise cancel_unknown(None) from None

    async def cancel_each(
        self, order_ids: Sequence[UUID], *, owner: str | None
    ) -> list[OrderResult | Refusal]:
        """Cancel orders like `cancel_by_id`, and return the result of each in the given order."""
        try:
            async with asyncio.timeout(CANCEL_SECONDS_MAX):
                attempts = [await self._attempts(order_id, owner) for order_id in order_ids]
                outcomes = iter(await self._gateway.submit_many([each[0] for each in attempts if each]))
                results = [
                    self._finish_cancel(order_id, owner, each, next(outcomes) if each else None)
                    for order_id, each in zip(order_ids, attempts, strict=True)
                ]
                return await asyncio.gather(*map(result_or_refusal, results))
        except TimeoutError:
            return [cancel_unknown(None)] * len(order_ids)

    async def _attempts(self, order_id: UUID, owner: str | None) -> list[Submission]:
        """Return a cancel for each instrument that the id may point to. Only the first is counted."""
        text = str(order_id)
        bucket: int | None = _bucket(order_id, owner)
        attempts: list[Submission] = []
        for instrument in await self._instruments.with_hint(hint_of(order_id)):
            command = self._cancel_command(text, instrument.symbol, owner or "")
            attempts.append(Submission(command, instrument.partition, None, bucket))
            bucket = None
        return attempts

    async def _finish_cancel(
        self, order_id: UUID, owner: str | None, attempts: Sequence[Submission], outcome: Outcome | None
    ) -> OrderResult:
        """Return the cancelled order, after further attempts if they are needed.

        `outcome` is that of the first attempt, or None if there was none.

        Raises what `cancel_by_id` raises.
        """
        text = str(order_id)
        if outcome is None:
            allowance = await self._count_refused_cancel(_bucket(order_id, owner))
            return await self._cancel_elsewhere(text, owner, allowance)
        answer = await self._settle(text, owner, outcome)
        allowance = answer.allowance
        for submission in attempts[1:]:
            if answer.reply.kind is not ReplyKind.NOT_OPEN or answer.reply.body == NOT_OWNER:
                break
            answer = await self._settle(text, owner, await self._submit(submission))
        if answer.reply.kind is not ReplyKind.NOT_OPEN:
            return await self._cancel_result(text, answer.reply, allowance)
        if answer.reply.body == NOT_OWNER:
            raise no_such_order(allowance)
        return await self._cancel_elsewhere(text, owner, allowance)

    async def cancel(self, row: Order, *, by_operator: bool = False) -> OrderResult:
        """Cancel a live order and wait until the cancel is committed.

        An operator's cancel does not count against the client's rate limit.

        Raises OrderNotOpen, RateLimited, Unavailable, OutcomeUnknown.
        """
        if not row.is_live:
            raise OrderNotOpen
        order_id = str(row.order_id)
        command = self._cancel_command(
            order_id, row.instrument.symbol, row.client_id, by_operator=by_operator
        )
        bucket = None if by_operator else client_bucket(row.client_id)
        outcome = await self._submit(Submission(command, row.instrument.partition, None, bucket))
        answer = await self._settle(order_id, row.client_id, outcome)
        if answer.reply.kind is ReplyKind.NOT_OPEN:
            current_row = await self._reads.cancelled(find_order_row, order_id)
            raise missing_from_book(current_row, answer.allowance)
        return await self._cancel_result(order_id, answer.reply, answer.allowance)

    def _cancel_command(
        self, order_id: str, symbol: str, client_id: str, *, by_operator: bool = False
    ) -> CancelCommand:
        return CancelCommand(
            request_id=str(uuid_utils.uuid7()),
            reply_to=self._gateway.process_id,
            client_id=client_id,
            instrument=symbol,
            order_id=order_id,
            by_operator=by_operator,
            guard=self._carried_guard,
        )

    async def _settle(self, order_id: str, owner: str | None, outcome: Outcome) -> GatewayReply:
        """Return the reply to a cancel. If none arrived, read the result from the database.

        Raises RateLimited, Unavailable, OutcomeUnknown; OrderNotFound and OrderNotOpen if the
        database shows that the order does not exist or is not open.
        """
        if isinstance(outcome, GatewayReply):
            return outcome
        if not isinstance(outcome, OutcomeUnknown):
            raise outcome
        allowance = outcome.allowance
        try:
            document = await self._reads.cancelled(find_order, order_id)
        except Unavailable:
            raise cancel_unknown(allowance) from None
        if document is None or owner not in (None, document.client_id):
            raise no_such_order(allowance)
        if document.status in LIVE_STATUSES:
            raise cancel_unknown(allowance)
        if document.status != OrderStatus.CANCELLED:
            raise OrderNotOpen(allowance=allowance)
        return GatewayReply(Reply("", ReplyKind.CANCELLED, encode_json(document)), allowance)

    async def _cancel_result(self, order_id: str, reply: Reply, allowance: Allowance | None) -> OrderResult:
        """Return the cancelled order. Raises Unavailable, OutcomeUnknown."""
        if reply.kind is not ReplyKind.CANCELLED:
            raise Unavailable(reply.body.decode() or None, allowance=allowance)
        return await self._changed_order(order_id, reply, cancel_unknown(allowance), allowance)

    async def _changed_order(
        self, order_id: str, reply: Reply, unknown: OutcomeUnknown, allowance: Allowance | None
    ) -> OrderResult:
        """Return the order of a reply, which the database knows if the reply is empty.

        Raises `unknown` if the order was changed, but can't be read now.
        """
        if reply.body:
            return OrderResult(reply.body, False, allowance)
        document = None
        with contextlib.suppress(Unavailable):
            document = await self._reads.cancelled(find_order, order_id)
        if document is None:
            raise unknown
        return OrderResult(encode_json(document), False, allowance)

    async def _count_refused_cancel(self, bucket: int) -> Allowance | None:
        """Add a cancel that was sent to no worker to the rate limit's count. Raises RateLimited."""
        with contextlib.suppress(Unavailable, OutcomeUnknown):
            return await self._gateway.count_cancel(
                partition=await self._first_partition(), client_bucket=bucket
            )
        return None

    async def _cancel_elsewhere(
        self, order_id: str, owner: str | None, allowance: Allowance | None
    ) -> OrderResult:
        """Cancel an order that is in none of the books to which its id points.

        The id may be from an earlier version of the exchange, the instrument may have moved to
        another partition, or the order is not open.

        Raises OrderNotFound, OrderNotOpen, Unavailable, OutcomeUnknown.
        """
        row = await self._reads.refused_cancels(order_id)
        if row is None or owner not in (None, row.client_id):
            raise no_such_order(allowance)
        if not row.is_live:
            raise OrderNotOpen(allowance=allowance)
        command = self._cancel_command(order_id, row.instrument.symbol, row.client_id)
        outcome = await self._submit(Submission(command, row.instrument.partition, None))
        answer = await self._settle(order_id, row.client_id, outcome)
        if answer.reply.kind is ReplyKind.NOT_OPEN:
            raise missing_from_book(await self._reads.refused_cancels(order_id), allowance)
        return await self._cancel_result(order_id, answer.reply, allowance)


def _bucket(order_id: UUID, owner: str | None) -> int:
    """Return the bucket whose limit of cancels counts a cancel."""
    return bucket_of(order_id) if owner is None else client_bucket(owner)
