"""The order desk: sends validated requests to the gateway, and turns the replies into answers.

The database is the authority on the state of orders. If no reply arrives, or if an idempotency key
was used before, the answer is read from the database. A look-up that will probably end in a refusal
is done last, at a bounded pace, and counts against the client's rate limit, so that such look-ups
do not slow down other clients.
"""

import asyncio
import contextlib
from uuid import UUID

import msgspec
import uuid_utils
from django.conf import settings

from base.encoding import encode_json
from base.loops import per_event_loop
from base.refusals import Allowance, OutcomeUnknown, Refusal, Unavailable
from instruments.directory import InstrumentDirectory, directory
from instruments.refusals import InstrumentHalted
from orders import messages
from orders.documents import OrderDocument, stored_state
from orders.gateway import GatewayReply, OrderGateway, RefusedByQueue, current_gateway
from orders.look_ups import DeskReads, desk_reads
from orders.messages import NOT_OWNER, CancelCommand, PlaceCommand, Reply, ReplyKind
from orders.models import RESTING_STATUSES, Order, OrderStatus
from orders.order_ids import bucket_of, client_bucket, hint_of, new_order_id
from orders.refusals import BeyondLimits, IdempotencyKeyReused, OrderNotFound, OrderNotOpen
from orders.requests import OrderRequest
from orders.selectors import find_order, find_order_row, find_order_rows_by_key

# A cancel may need several replies and look-ups. Together they may take as long as one reply and
# one look-up, like an order.
CANCEL_SECONDS_MAX = settings.ORDER_REPLY_TIMEOUT_SECONDS + settings.DESK_READ_SECONDS_MAX


class OrderResult(msgspec.Struct, frozen=True):
    """An order as JSON. `replayed` is set if an earlier request with the same key placed it."""

    body: bytes
    replayed: bool
    allowance: Allowance | None


class OrderDesk:
    """Places and cancels orders for clients, and sends operators' commands to the workers."""

    def __init__(self, gateway: OrderGateway, reads: DeskReads, instruments: InstrumentDirectory) -> None:
        self._gateway = gateway
        self._reads = reads
        self._instruments = instruments

    async def place(self, order: OrderRequest) -> OrderResult:
        """Place an order and wait until its effects are committed.

        Raises InvalidRequest, InstrumentHalted, IdempotencyKeyReused, RateLimited, Unavailable,
        OutcomeUnknown.
        """
        instrument = order.instrument
        order_id = new_order_id(instrument_id=instrument.instrument_id, client_id=order.client_id)
        try:
            price_ticks, quantity_lots = order.to_grid()
            if instrument.halted:
                raise InstrumentHalted
            command = PlaceCommand(
                order_id=order_id,
                reply_to=self._gateway.process_id,
                client_id=order.client_id,
                instrument=instrument.symbol,
                side=order.side,
                order_type=order.order_type,
                price_ticks=price_ticks,
                quantity_lots=quantity_lots,
                idempotency_key=order.idempotency_key,
                terms=None if order.idempotency_key is None else order.terms,
            )
            answer = await self._gateway.submit(
                command, partition=instrument.partition, client_id=order.client_id
            )
        except OutcomeUnknown as unknown:
            return await self._find_placed(order, order_id, unknown.allowance)
        except (BeyondLimits, InstrumentHalted, Unavailable) as refusal:
            # Limits and halts apply to new orders only. An earlier request may have placed this
            # order.
            if order.idempotency_key is None:
                raise
            return await self._find_earlier(order, order.idempotency_key, refusal)
        reply, allowance = answer.reply, answer.allowance
        if reply.kind is ReplyKind.PLACED:
            return OrderResult(reply.body, False, allowance)
        if reply.kind is ReplyKind.DUPLICATE:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(settings.DESK_READ_SECONDS_MAX):
                    earlier = await self._reads.orders(find_order_row, reply.body.decode())
                    if earlier is not None:
                        return await self._replay(order, earlier, allowance)
            raise Unavailable(allowance=allowance)
        raise Unavailable(reply.body.decode() or None, allowance=allowance)

    async def cancel_by_id(self, order_id: UUID, *, owner: str | None) -> OrderResult:
        """Cancel an order. If `owner` is given, the orders of all other clients count as unknown.

        The id tells which instruments the order may belong to, and their workers know which orders
        are open. The database is read only if none of the workers has the order.

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

    async def cancel(self, row: Order, *, by_operator: bool = False) -> OrderResult:
        """Cancel a resting order and wait until the cancel is committed.

        An operator's cancel does not count against the client's rate limit.

        Raises OrderNotOpen, RateLimited, Unavailable, OutcomeUnknown.
        """
        if not row.is_resting:
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

    async def reload_instruments(self, partition: int) -> None:
        """Make a partition's worker reload the instruments. Raises Unavailable, OutcomeUnknown."""
        request_id, process_id = str(uuid_utils.uuid7()), self._gateway.process_id
        await self._run_operator_command(
            messages.ReloadInstruments(request_id=request_id, reply_to=process_id), partition
        )

    async def inspect_books(self, partition: int) -> dict[str, messages.BookState]:
        """Return the sequence and state hash of every order book of a partition, by symbol.

        Raises Unavailable, OutcomeUnknown.
        """
        request_id, process_id = str(uuid_utils.uuid7()), self._gateway.process_id
        body = await self._run_operator_command(
            messages.InspectBooks(request_id=request_id, reply_to=process_id), partition
        )
        return msgspec.json.decode(body, type=dict[str, messages.BookState])

    async def _run_operator_command(self, command: messages.Command, partition: int) -> bytes:
        """Send an operator's command and return the reply's body.

        Raises Unavailable, OutcomeUnknown.
        """
        reply = (await self._gateway.submit(command, partition=partition, client_id=None)).reply
        if reply.kind is not ReplyKind.DONE:
            raise Unavailable(reply.body.decode() or None)
        return reply.body

    async def _find_placed(
        self, order: OrderRequest, order_id: str, allowance: Allowance | None
    ) -> OrderResult:
        """Return the order of a request that got no reply but may have been processed.

        Raises IdempotencyKeyReused; OutcomeUnknown if the order is not found.
        """
        key = order.idempotency_key
        advice = (
            f"Look for it with GET /orders?client_id={order.client_id} before you send it again."
            if key is None
            else "Send it again with the same idempotency key."
        )
        unknown = OutcomeUnknown(
            f"No result arrived in time. The order may have been placed. {advice}", allowance=allowance
        )
        try:
            async with asyncio.timeout(settings.DESK_READ_SECONDS_MAX):
                placed = await self._reads.orders(find_order, order_id)
                if placed is not None:
                    return OrderResult(encode_json(placed), False, allowance)
                if key is None:
                    raise unknown
                earlier = (
                    await self._reads.orders(find_order_rows_by_key, [(order.client_id, key)])
                ).values()
                for row in earlier:
                    return await self._replay(order, row, allowance)
        except (Unavailable, TimeoutError):
            pass
        raise unknown

    async def _find_earlier(self, order: OrderRequest, key: str, refusal: Refusal) -> OrderResult:
        """Return the order with this key.

        Raises IdempotencyKeyReused; Unavailable if the look-up fails; the refusal if no order has
        the key.
        """
        try:
            async with asyncio.timeout(settings.DESK_READ_SECONDS_MAX):
                return await self._look_up_earlier(order, key, refusal)
        except TimeoutError:
            raise _key_not_looked_up(refusal) from None

    async def _look_up_earlier(self, order: OrderRequest, key: str, refusal: Refusal) -> OrderResult:
        """Look up the order with this key. The look-up counts as an order if Redis is answering."""
        allowance = refusal.allowance
        if not isinstance(refusal, Unavailable) or isinstance(refusal, RefusedByQueue):
            with contextlib.suppress(Unavailable, OutcomeUnknown):
                allowance = await self._gateway.count_order(
                    partition=order.instrument.partition, client_id=order.client_id
                )
                refusal.allowance = refusal.allowance or allowance
        try:
            earlier = await self._reads.refused_orders((order.client_id, key))
        except Unavailable:
            raise _key_not_looked_up(refusal) from None
        if earlier is None:
            raise refusal
        return await self._replay(order, earlier, allowance)

    async def _replay(self, order: OrderRequest, earlier: Order, allowance: Allowance | None) -> OrderResult:
        """Return the current state of the earlier order with the same key.

        Its fills are only read if both requests describe the same order.

        Raises IdempotencyKeyReused, Unavailable.
        """
        if earlier.terms != order.terms:
            raise IdempotencyKeyReused(allowance=allowance)
        document = _unfilled_document(earlier)
        if document is None:
            try:
                document = await self._reads.replays(find_order, str(earlier.order_id))
            except Unavailable as unavailable:
                raise Unavailable(unavailable.message, allowance=allowance) from None
        if document is None:  # the order was pruned meanwhile
            raise Unavailable(allowance=allowance)
        return OrderResult(encode_json(document), True, allowance)

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
        if document.status in RESTING_STATUSES:
            raise cancel_unknown(allowance)
        if document.status != OrderStatus.CANCELLED:
            raise OrderNotOpen(allowance=allowance)
        return GatewayReply(Reply(command.request_id, ReplyKind.CANCELLED, encode_json(document)), allowance)

    async def _cancel_result(self, order_id: str, reply: Reply, allowance: Allowance | None) -> OrderResult:
        """Return the cancelled order. Raises Unavailable, OutcomeUnknown."""
        if reply.kind is not ReplyKind.CANCELLED:
            raise Unavailable(reply.body.decode() or None, allowance=allowance)
        if reply.body:
            return OrderResult(reply.body, False, allowance)
        document = None
        with contextlib.suppress(Unavailable):
            document = await self._reads.cancelled(find_order, order_id)
        if document is None:  # the order was cancelled, but can't be read now
            raise cancel_unknown(allowance)
        return OrderResult(encode_json(document), False, allowance)

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
        if not row.is_resting:
            raise OrderNotOpen(allowance=allowance)
        command = self._cancel_command(order_id, row.instrument.symbol, row.client_id)
        answer = await self._submit_cancel(command, row.instrument.partition, None)
        if answer.reply.kind is ReplyKind.NOT_OPEN:
            raise _missing_from_book(await self._reads.refused_cancels(order_id), allowance)
        return await self._cancel_result(order_id, answer.reply, allowance)


@per_event_loop
def current_desk() -> OrderDesk:
    """Return the desk of the running event loop, which uses the loop's gateway."""
    return OrderDesk(current_gateway(), desk_reads(), directory)


def _key_not_looked_up(refusal: Refusal) -> Unavailable:
    """Return the refusal of an order if it is unknown whether an earlier request placed it."""
    if isinstance(refusal, Unavailable):
        return refusal
    return Unavailable(
        "The exchange could not check if this key has placed an order. Send it again after Retry-After.",
        allowance=refusal.allowance,
    )


def no_such_order(allowance: Allowance | None = None) -> OrderNotFound:
    return OrderNotFound(allowance=allowance)


def _missing_from_book(row: Order | None, allowance: Allowance | None) -> Refusal:
    """Return the refusal of a cancel whose order rested a moment ago, but is not in the book.

    `row` is the order's row, which was read after the worker's reply.
    """
    if row is not None and row.is_resting:
        return Unavailable(
            "The order's instrument is being moved to another worker. The order was not cancelled. Send the"
            " cancel again after Retry-After.",
            allowance=allowance,
        )
    return OrderNotOpen(allowance=allowance)


def cancel_unknown(allowance: Allowance | None) -> OutcomeUnknown:
    return OutcomeUnknown(
        "No result arrived in time. The order may have been cancelled. You can safely send the cancel again.",
        allowance=allowance,
    )


def _unfilled_document(row: Order) -> OrderDocument | None:
    """Return an order without fills as a document, or None if it has fills."""
    if row.filled_quantity:
        return None
    return OrderDocument(**stored_state(row, row.instrument.symbol), trades=[])
