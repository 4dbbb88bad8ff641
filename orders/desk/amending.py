"""Amends live orders.

An amend that names the order's client and an id that points to one instrument goes to the gateway
at once. For any other amend, the order's client and instrument are looked up first: the rate limit
needs the client, and the instrument has the grid and the limits.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

import uuid_utils

from base.refusals import Allowance, OutcomeUnknown, Refusal, Unavailable
from base.times import unix_milliseconds
from instruments.directory import TradedInstrument
from instruments.refusals import InstrumentHalted
from orders.desk.cancelling import Cancelling
from orders.desk.parts import (
    CANCEL_SECONDS_MAX,
    OrderResult,
    missing_from_book,
    no_such_order,
    result_or_refusal,
)
from orders.gateway import GatewayReply, Submission
from orders.messages import NOT_OWNER, AmendCommand, AmendRefusal, ReplyKind
from orders.models import Order
from orders.order_ids import bucket_of, hint_of
from orders.refusals import AmendRefused, BeyondLimits
from orders.requests import AmendOne, AmendRequest


class ReadyAmend(NamedTuple):
    """An amend of an order that probably is live in the book of this instrument."""

    order_id: str
    client_id: str
    instrument: TradedInstrument
    changes: AmendRequest
    submission: Submission


class Amending(Cancelling):
    """The part of the desk that amends orders."""

    async def amend_by_id(self, order_id: UUID, changes: AmendRequest) -> OrderResult:
        """Amend an order. The orders of other clients than `changes.client_id` count as unknown.

        Raises InvalidRequest, OrderNotFound, OrderNotOpen, InstrumentHalted, AmendRefused,
        RateLimited, Unavailable, OutcomeUnknown.
        """
        return await self.amend_one(AmendOne(order_id, None, changes))

    async def amend_one(self, amend: AmendOne) -> OrderResult:
        """Amend the order that the amend names. Raises what `amend_by_id` raises."""
        try:
            async with asyncio.timeout(CANCEL_SECONDS_MAX):
                ready = await self._prepare_by_hint(amend) or await self._prepare_by_look_up(amend)
                return await self._finish_amend(ready, await self._submit(ready.submission))
        except TimeoutError:
            raise _amend_unknown(None) from None

    async def amend_many(self, amends: Sequence[AmendOne | Refusal]) -> list[OrderResult | Refusal]:
        """Amend several orders, and return the result of each in the given order.

        The amends of a partition are next to each other in its stream. An item that is a refusal
        already stays as it is.
        """
        try:
            async with asyncio.timeout(CANCEL_SECONDS_MAX):
                prepared = await self._prepare_many(amends)
                ready = [each for each in prepared if isinstance(each, ReadyAmend)]
                outcomes = await self._gateway.submit_many([each.submission for each in ready])
                work = map(self._finish_amend, ready, outcomes)
                results = iter(await asyncio.gather(*map(result_or_refusal, work)))
        except TimeoutError:
            return [_amend_unknown(None)] * len(amends)
        return [each if isinstance(each, Refusal) else next(results) for each in prepared]

    async def _prepare_many(self, amends: Sequence[AmendOne | Refusal]) -> list[ReadyAmend | Refusal]:
        """Prepare amends. The orders that must be looked up are looked up at the same time."""
        prepared = [
            amend if isinstance(amend, Refusal) else await result_or_refusal(self._prepare_by_hint(amend))
            for amend in amends
        ]
        work = [
            self._prepare_by_look_up(amend)
            for amend, ready in zip(amends, prepared, strict=True)
            if ready is None and isinstance(amend, AmendOne)
        ]
        looked_up = iter(await asyncio.gather(*map(result_or_refusal, work)))
        return [next(looked_up) if ready is None else ready for ready in prepared]

    async def _prepare_by_hint(self, amend: AmendOne) -> ReadyAmend | None:
        """Prepare an amend without a look-up, or return None. Raises InvalidRequest, Unavailable."""
        client_id = amend.changes.client_id
        if amend.order_id is None or client_id is None:
            return None
        instruments = await self._instruments.with_hint(hint_of(amend.order_id))
        if len(instruments) != 1:
            return None
        return self._ready(str(amend.order_id), client_id, instruments[0], amend.changes, is_counted=False)

    async def _prepare_by_look_up(self, amend: AmendOne) -> ReadyAmend:
        """Look the order of an amend up. Raises InvalidRequest, OrderNotFound, RateLimited, Unavailable."""
        client_id = amend.changes.client_id
        if amend.order_id is not None:
            row = await self._reads.refused_cancels(str(amend.order_id))
            if row is None or client_id not in (None, row.client_id):
                raise no_such_order(await self._count_refused_amend(amend))
        else:
            assert amend.key is not None  # noqa: S101 - an amend has an id or a key
            row, allowance = await self._find_by_key(*amend.key, lambda: self._count_refused_amend(amend))
            if row is None:
                raise no_such_order(allowance)
        return await self._ready_for(row, amend.changes, is_counted=False)

    async def needs_look_up(self, amend: AmendOne) -> bool:
        """Return whether an amend is looked up before it is submitted. Raises Unavailable."""
        return await result_or_refusal(self._prepare_by_hint(amend)) is None

    async def _ready_for(self, row: Order, changes: AmendRequest, *, is_counted: bool) -> ReadyAmend:
        instrument = await self._instruments.get(row.instrument.symbol)
        return self._ready(str(row.order_id), row.client_id, instrument, changes, is_counted=is_counted)

    def _ready(
        self,
        order_id: str,
        client_id: str,
        instrument: TradedInstrument,
        changes: AmendRequest,
        *,
        is_counted: bool,
    ) -> ReadyAmend:
        """Return the amend with its command. Raises InvalidRequest."""
        price_ticks, quantity_lots, trigger_price_ticks = changes.to_grid(instrument)
        command = AmendCommand(
            request_id=str(uuid_utils.uuid7()),
            reply_to=self._gateway.process_id,
            client_id=client_id,
            instrument=instrument.symbol,
            order_id=order_id,
            price_ticks=price_ticks,
            quantity_lots=quantity_lots,
            trigger_price_ticks=trigger_price_ticks,
            expires_at_ms=None if changes.expires_at is None else unix_milliseconds(changes.expires_at),
            guard=self._carried_guard,
        )
        submission = Submission(command, instrument.partition, None if is_counted else client_id)
        return ReadyAmend(order_id, client_id, instrument, changes, submission)

    async def _finish_amend(self, ready: ReadyAmend, outcome: GatewayReply | Refusal) -> OrderResult:
        """Return the amended order. Raises the refusal that the outcome tells of."""
        answer = _reply_of(outcome)
        allowance = answer.allowance
        if answer.reply.kind is ReplyKind.NOT_OPEN:
            row = (
                None if answer.reply.body == NOT_OWNER else await self._reads.refused_cancels(ready.order_id)
            )
            if row is None or row.client_id != ready.client_id:
                raise no_such_order(allowance)
            if not row.is_live or row.instrument.symbol == ready.instrument.symbol:
                raise missing_from_book(row, allowance)
            # The id points to an instrument that the order does not belong to.
            ready = await self._ready_for(row, ready.changes, is_counted=True)
            answer = _reply_of(await self._submit(ready.submission))
        reply = answer.reply
        if reply.kind is ReplyKind.AMENDED:
            return await self._changed_order(ready.order_id, reply, _amend_unknown(allowance), allowance)
        if reply.kind is ReplyKind.AMEND_REFUSED:
            reason = AmendRefusal(reply.body.decode())
            if reason is AmendRefusal.INSTRUMENT_HALTED:
                raise InstrumentHalted(allowance=allowance)
            if reason is AmendRefusal.BELOW_MIN_NOTIONAL:
                raise _below_min_notional(allowance)
            raise AmendRefused(reason, allowance=allowance)
        if reply.kind is ReplyKind.NOT_OPEN:
            raise missing_from_book(await self._reads.refused_cancels(ready.order_id), allowance)
        raise Unavailable(reply.body.decode() or None, allowance=allowance)

    async def _count_refused_amend(self, amend: AmendOne) -> Allowance | None:
        """Count an amend of an unknown order: as an order, or as a cancel if it names no client.

        Raises RateLimited.
        """
        client_id = amend.changes.client_id
        if client_id is None:
            assert amend.order_id is not None  # noqa: S101 - a key has a client
            return await self._count_refused_cancel(bucket_of(amend.order_id))
        with contextlib.suppress(Unavailable, OutcomeUnknown):
            partition = await self._first_partition()
            return await self._gateway.count_order(partition=partition, client_id=client_id)
        return None


def _reply_of(outcome: GatewayReply | Refusal) -> GatewayReply:
    """Return the reply to an amend, or raise its refusal."""
    if isinstance(outcome, OutcomeUnknown):
        raise _amend_unknown(outcome.allowance) from None
    if isinstance(outcome, Refusal):
        raise outcome
    return outcome


def _below_min_notional(allowance: Allowance | None) -> BeyondLimits:
    refusal = BeyondLimits(fields={"quantity": ["price * quantity would be below the min_notional."]})
    refusal.allowance = allowance
    return refusal


def _amend_unknown(allowance: Allowance | None) -> OutcomeUnknown:
    return OutcomeUnknown(
        "No result arrived in time. The order may have been amended. You can safely send the amend again.",
        allowance=allowance,
    )
