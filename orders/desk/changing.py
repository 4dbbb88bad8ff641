"""Changes one live order: cancels it or amends it.

The order's id tells which instruments it may belong to, and their workers know which orders are
live. The database is read only if none of the workers has the order.
"""

import asyncio
import contextlib
from collections.abc import Callable
from uuid import UUID

import msgspec
import uuid_utils

from base.encoding import encode_json
from base.refusals import Allowance, OutcomeUnknown, Refusal, Unavailable
from base.times import unix_milliseconds
from instruments.directory import TradedInstrument
from instruments.refusals import InstrumentHalted
from orders.desk.parts import (
    CANCEL_SECONDS_MAX,
    DeskPart,
    OrderResult,
    amend_unknown,
    cancel_unknown,
    no_such_order,
)
from orders.gateway import GatewayReply
from orders.messages import (
    NOT_OWNER,
    AmendCommand,
    AmendRefusal,
    CancelCommand,
    Reply,
    ReplyKind,
)
from orders.models import LIVE_STATUSES, Order, OrderStatus
from orders.order_ids import bucket_of, client_bucket, hint_of
from orders.refusals import AmendRefused, OrderNotOpen
from orders.requests import AmendRequest
from orders.selectors import find_order, find_order_row

# Makes the command for an order of this instrument.
MakeCommand = Callable[[TradedInstrument], CancelCommand | AmendCommand]


class Changing(DeskPart):
    """The part of the desk that cancels and amends one order at a time."""

    async def cancel_by_id(self, order_id: UUID, *, owner: str | None) -> OrderResult:
        """Cancel an order. If `owner` is given, the orders of all other clients count as unknown.

        Raises OrderNotFound, OrderNotOpen, RateLimited, Unavailable, OutcomeUnknown.
        """
        try:
            async with asyncio.timeout(CANCEL_SECONDS_MAX):
                return await self._cancel_by_id(order_id, owner)
        except TimeoutError:
            raise cancel_unknown(None) from None

    async def _cancel_by_id(self, order_id: UUID, owner: str | None) -> OrderResult:
        text = str(order_id)
        bucket = bucket_of(order_id) if owner is None else client_bucket(owner)
        allowance: Allowance | None = None
        is_counted = False
        for instrument in await self._instruments.with_hint(hint_of(order_id)):
            command = self._cancel_command(text, instrument.symbol, owner or "")
            answer = await self._submit_cancel(command, instrument.partition, None if is_counted else bucket)
            if not is_counted:  # only the first command counts against the rate limit
                allowance, is_counted = answer.allowance, True
            if answer.reply.kind is not ReplyKind.NOT_OPEN:
                return await self._cancel_result(text, answer.reply, allowance)
            if answer.reply.body == NOT_OWNER:
                raise no_such_order(allowance)
        if not is_counted:
            allowance = await self._count_refused_cancel(bucket)
        return await self._cancel_elsewhere(text, owner, allowance)

    async def amend_by_id(self, order_id: UUID, amend: AmendRequest) -> OrderResult:
        """Amend an order. The orders of other clients than `amend.client_id` count as unknown.

        Raises OrderNotFound, OrderNotOpen, InstrumentHalted, AmendRefused,
        RateLimited, Unavailable, OutcomeUnknown.
        """
        try:
            async with asyncio.timeout(CANCEL_SECONDS_MAX):
                return await self._amend_by_id(order_id, amend)
        except TimeoutError:
            raise amend_unknown(None) from None

    async def amend_by_key(self, client_id: str, key: str, amend: AmendRequest) -> OrderResult:
        """Amend the order that has this idempotency key. Raises what `amend_by_id` raises."""
        row = await self._reads.refused_orders((client_id, key))
        if row is None:
            raise no_such_order(await self._count_refused_cancel_of(client_id))
        return await self.amend_by_id(row.order_id, msgspec.structs.replace(amend, client_id=client_id))

    async def _amend_by_id(self, order_id: UUID, amend: AmendRequest) -> OrderResult:
        text = str(order_id)
        instruments = await self._instruments.with_hint(hint_of(order_id))
        client_id = amend.client_id
        row: Order | None = None
        if client_id is None or len(instruments) != 1:
            # The rate limit needs the order's client, and the limits need its instrument.
            row = await self._reads.refused_cancels(text)
            if row is None or client_id not in (None, row.client_id):
                raise no_such_order(await self._count_refused_cancel(bucket_of(order_id)))
            client_id = row.client_id
            instruments = [await self._instruments.get(row.instrument.symbol)]
        (instrument,) = instruments
        answer = await self._submit_amend(text, client_id, amend, instrument, is_counted=False)
        reply, allowance = answer.reply, answer.allowance
        if reply.kind is ReplyKind.NOT_OPEN and reply.body != NOT_OWNER and row is None:
            # The id may point to an instrument that the order does not belong to.
            row = await self._reads.refused_cancels(text)
            if row is not None and row.instrument.symbol != instrument.symbol and row.client_id == client_id:
                moved = await self._instruments.get(row.instrument.symbol)
                answer = await self._submit_amend(text, client_id, amend, moved, is_counted=True)
                reply = answer.reply
        return await self._amend_result(text, client_id, reply, allowance)

    async def _submit_amend(
        self,
        order_id: str,
        client_id: str,
        amend: AmendRequest,
        instrument: TradedInstrument,
        *,
        is_counted: bool,
    ) -> GatewayReply:
        price_ticks, quantity_lots, trigger_price_ticks = amend.to_grid(instrument)
        command = AmendCommand(
            request_id=str(uuid_utils.uuid7()),
            reply_to=self._gateway.process_id,
            client_id=client_id,
            instrument=instrument.symbol,
            order_id=order_id,
            price_ticks=price_ticks,
            quantity_lots=quantity_lots,
            trigger_price_ticks=trigger_price_ticks,
            expires_at_ms=None if amend.expires_at is None else unix_milliseconds(amend.expires_at),
        )
        try:
            return await self._gateway.submit(
                command, partition=instrument.partition, client_id=None if is_counted else client_id
            )
        except OutcomeUnknown as unknown:
            raise amend_unknown(unknown.allowance) from None

    async def _amend_result(
        self, order_id: str, client_id: str, reply: Reply, allowance: Allowance | None
    ) -> OrderResult:
        """Return the amended order. Raises the refusal that the reply tells of."""
        if reply.kind is ReplyKind.AMENDED:
            return await self._changed_order(order_id, reply, amend_unknown(allowance), allowance)
        if reply.kind is ReplyKind.AMEND_REFUSED:
            reason = AmendRefusal(reply.body.decode())
            if reason is AmendRefusal.INSTRUMENT_HALTED:
                raise InstrumentHalted(allowance=allowance)
            raise AmendRefused(reason, allowance=allowance)
        if reply.kind is not ReplyKind.NOT_OPEN:
            raise Unavailable(reply.body.decode() or None, allowance=allowance)
        row = None if reply.body == NOT_OWNER else await self._reads.refused_cancels(order_id)
        if row is None or row.client_id != client_id:
            raise no_such_order(allowance)
        raise _missing_from_book(row, allowance)

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
        answer = await self._submit_cancel(command, row.instrument.partition, bucket)
        if answer.reply.kind is ReplyKind.NOT_OPEN:
            current_row = await self._reads.cancelled(find_order_row, order_id)
            raise _missing_from_book(current_row, answer.allowance)
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
        )

    async def _submit_cancel(
        self, command: CancelCommand, partition: int, bucket: int | None
    ) -> GatewayReply:
        """Send a cancel and return its reply.

        If no reply arrives, read the result from the database.

        Raises RateLimited, Unavailable, OutcomeUnknown; OrderNotFound and OrderNotOpen if the
        database shows that the order does not exist or is not open.
        """
        try:
            return await self._gateway.submit(
                command, partition=partition, client_id=None, client_bucket=bucket
            )
        except OutcomeUnknown as unknown:
            allowance = unknown.allowance
        try:
            document = await self._reads.cancelled(find_order, command.order_id)
        except Unavailable:
            raise cancel_unknown(allowance) from None
        if document is None or command.client_id not in ("", document.client_id):
            raise no_such_order(allowance)
        if document.status in LIVE_STATUSES:
            raise cancel_unknown(allowance)
        if document.status != OrderStatus.CANCELLED:
            raise OrderNotOpen(allowance=allowance)
        return GatewayReply(Reply(command.request_id, ReplyKind.CANCELLED, encode_json(document)), allowance)

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

    async def _count_refused_cancel_of(self, client_id: str) -> Allowance | None:
        """Like `_count_refused_cancel`, for a known client. Raises RateLimited."""
        return await self._count_refused_cancel(client_bucket(client_id))

    async def _count_refused_cancel(self, bucket: int) -> Allowance | None:
        """Add a cancel that was sent to no worker to the rate limit's count. Raises RateLimited."""
        instruments = (await self._instruments.all()).values()
        partition = min((instrument.partition for instrument in instruments), default=0)
        with contextlib.suppress(Unavailable, OutcomeUnknown):
            return await self._gateway.count_cancel(partition=partition, client_bucket=bucket)
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
        answer = await self._submit_cancel(command, row.instrument.partition, None)
        if answer.reply.kind is ReplyKind.NOT_OPEN:
            raise _missing_from_book(await self._reads.refused_cancels(order_id), allowance)
        return await self._cancel_result(order_id, answer.reply, allowance)


def _missing_from_book(row: Order | None, allowance: Allowance | None) -> Refusal:
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
