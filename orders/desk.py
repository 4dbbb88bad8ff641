"""The desk: from a validated request to the gateway, and from the reply to an answer.

The database is the authority on what was done. If no reply came, or a key was used before, the answer is
read from it. What leads to a refusal is looked up last, bounded, and counted: it must cost others nothing.
"""

import asyncio
import contextlib
from decimal import Decimal
from uuid import UUID

import msgspec
import uuid_utils
from django.conf import settings

from orders import messages
from orders.documents import OrderDocument, stored_state
from orders.gateway import Answer, NotTaken, OrderGateway, current_gateway
from orders.instruments import InstrumentDirectory, TradedInstrument, directory
from orders.look_ups import DeskReads, desk_reads
from orders.messages import NOT_OWNER, CancelOrder, PlaceOrder, Reply, ReplyKind
from orders.models import RESTING_STATUSES, Order, OrderStatus
from orders.order_ids import bucket_of, client_bucket, hint_of, new_order_id
from orders.selectors import find_order, find_order_row, find_order_rows_by_key
from orders.serializers import to_grid
from rest.encoding import encode_json
from rest.exceptions import (
    BeyondLimits,
    IdempotencyKeyReused,
    InstrumentHalted,
    OrderNotFound,
    OrderNotOpen,
    OutcomeUnknown,
    Refusal,
    Unavailable,
)
from rest.loops import per_event_loop

# The worker's reply and what is looked up afterwards, as for an order: a cancel that has more to do ends then, too.
CANCEL_SECONDS_MAX = settings.ORDER_REPLY_TIMEOUT_SECONDS + settings.DESK_READ_SECONDS_MAX


class Outcome(msgspec.Struct, frozen=True):
    """An order as JSON; `replayed` where an earlier request with the same key placed it."""

    body: bytes
    replayed: bool
    headers: dict[str, str]


class OrderRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A validated request to place an order."""

    client_id: str
    instrument: TradedInstrument
    side: str
    type: str
    price: Decimal | None
    quantity: Decimal
    idempotency_key: str | None


class OrderDesk:
    """Takes orders and cancels of clients, and what operators ask of the workers."""

    def __init__(self, gateway: OrderGateway, reads: DeskReads, instruments: InstrumentDirectory) -> None:
        self._gateway = gateway
        self._reads = reads
        self._instruments = instruments

    async def place(self, order: OrderRequest) -> Outcome:
        """Place an order and wait until its effects are committed.

        Raises InvalidRequest, InstrumentHalted, IdempotencyKeyReused, RateLimited, Unavailable, OutcomeUnknown.
        """
        instrument = order.instrument
        order_id = new_order_id(instrument_id=instrument.instrument_id, client_id=order.client_id)
        try:
            price_ticks, quantity_lots = to_grid(instrument, price=order.price, quantity=order.quantity)
            if instrument.halted:
                raise InstrumentHalted
            command = PlaceOrder(
                order_id=order_id,
                reply_to=self._gateway.process_id,
                client_id=order.client_id,
                instrument=instrument.symbol,
                side=order.side,
                type=order.type,
                price_ticks=price_ticks or 0,
                quantity_lots=quantity_lots,
                idempotency_key=order.idempotency_key,
            )
            answer = await self._gateway.submit(
                command, partition=instrument.partition, client_id=order.client_id
            )
        except OutcomeUnknown as unknown:
            return await self._find_placed(order, order_id, unknown.headers)
        except (BeyondLimits, InstrumentHalted, Unavailable) as refusal:
            # Limits and halts hold for new orders: an earlier request may have placed this one.
            if order.idempotency_key is None:
                raise
            return await self._find_earlier(order, order.idempotency_key, refusal)
        reply, headers = answer.reply, answer.headers
        if reply.kind is ReplyKind.PLACED:
            return Outcome(reply.body, False, headers)
        if reply.kind is ReplyKind.DUPLICATE:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(settings.DESK_READ_SECONDS_MAX):
                    earlier = await self._reads.orders(find_order_row, reply.body.decode())
                    if earlier is not None:
                        return await self._replay(order, earlier, headers)
            raise Unavailable(headers=headers)
        raise Unavailable(reply.body.decode() or None, headers=headers)

    async def cancel_by_id(self, order_id: UUID, *, owner: str | None) -> Outcome:
        """Cancel an order; that of another client than `owner`, if one is named, is as good as unknown.

        The id says which instruments it may be of, and their workers what is open. The database is asked
        only about what none of them has.

        Raises OrderNotFound, OrderNotOpen, RateLimited, Unavailable, OutcomeUnknown.
        """
        try:
            async with asyncio.timeout(CANCEL_SECONDS_MAX):
                return await self._cancel_by_id(order_id, owner)
        except TimeoutError:
            raise cancel_unknown({}) from None

    async def _cancel_by_id(self, order_id: UUID, owner: str | None) -> Outcome:
        text = str(order_id)
        bucket = bucket_of(order_id) if owner is None else client_bucket(owner)
        headers: dict[str, str] | None = None
        for instrument in await self._instruments.with_hint(hint_of(order_id)):
            command = self._cancel_command(text, instrument.symbol, owner or "")
            counted_by = bucket if headers is None else None  # the first command counts
            answer = await self._submit_cancel(command, instrument.partition, counted_by)
            headers = answer.headers if headers is None else headers
            if answer.reply.kind is not ReplyKind.NOT_OPEN:
                return await self._cancelled(text, answer.reply, headers)
            if answer.reply.body == NOT_OWNER:
                raise no_such_order(headers)
        if headers is None:
            headers = await self._count_refused_cancel(bucket)
        return await self._cancel_elsewhere(text, owner, headers)

    async def cancel(self, row: Order, *, by_operator: bool = False) -> Outcome:
        """Take a resting order off the book and wait until that is committed.

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
            now = await self._reads.cancelled(find_order_row, order_id)
            raise _in_no_book(now, answer.headers)
        return await self._cancelled(order_id, answer.reply, answer.headers)

    async def reload_instruments(self, partition: int) -> None:
        """Tell a partition's worker that instruments were changed. Raises Unavailable, OutcomeUnknown."""
        request_id, process_id = str(uuid_utils.uuid7()), self._gateway.process_id
        await self._ask(messages.ReloadInstruments(request_id=request_id, reply_to=process_id), partition)

    async def inspect_books(self, partition: int) -> dict[str, messages.BookState]:
        """Sequence and state hash of every book of the live worker. Raises Unavailable, OutcomeUnknown."""
        request_id, process_id = str(uuid_utils.uuid7()), self._gateway.process_id
        body = await self._ask(messages.InspectBooks(request_id=request_id, reply_to=process_id), partition)
        return msgspec.json.decode(body, type=dict[str, messages.BookState])

    async def _ask(self, command: messages.Command, partition: int) -> bytes:
        """An operator's command, and what is told about it."""
        reply = (await self._gateway.submit(command, partition=partition, client_id=None)).reply
        if reply.kind is not ReplyKind.DONE:
            raise Unavailable(reply.body.decode() or None)
        return reply.body

    async def _find_placed(self, order: OrderRequest, order_id: str, headers: dict[str, str]) -> Outcome:
        """The order of a request that was taken, or may have been, and was not answered. Raises OutcomeUnknown."""
        key = order.idempotency_key
        advice = (
            f"Look for it with GET /orders?client_id={order.client_id} before you send it again."
            if key is None
            else "Send it again with the same idempotency key."
        )
        unknown = OutcomeUnknown(
            f"No answer came in time; the order may have been placed. {advice}", headers=headers
        )
        try:
            async with asyncio.timeout(settings.DESK_READ_SECONDS_MAX):
                placed = await self._reads.orders(find_order, order_id)
                if placed is not None:
                    return Outcome(encode_json(placed), False, headers)
                if key is None:
                    raise unknown
                earlier = (
                    await self._reads.orders(find_order_rows_by_key, [(order.client_id, key)])
                ).values()
                for row in earlier:
                    return await self._replay(order, row, headers)
        except (Unavailable, TimeoutError):
            pass
        raise unknown

    async def _find_earlier(self, order: OrderRequest, key: str, refusal: Refusal) -> Outcome:
        """Return the order with this key. Raises the refusal if no order has it, or the look-up is too late."""
        try:
            async with asyncio.timeout(settings.DESK_READ_SECONDS_MAX):
                return await self._look_up_earlier(order, key, refusal)
        except TimeoutError:
            raise _not_looked_up(refusal) from None

    async def _look_up_earlier(self, order: OrderRequest, key: str, refusal: Refusal) -> Outcome:
        """The look-up counts as an order does, as long as there is a Redis to count it."""
        headers = refusal.headers
        if not isinstance(refusal, Unavailable) or isinstance(refusal, NotTaken):
            with contextlib.suppress(Unavailable, OutcomeUnknown):
                headers = await self._gateway.count_order(
                    partition=order.instrument.partition, client_id=order.client_id
                )
                refusal.headers = {**headers, **refusal.headers}
        try:
            earlier = await self._reads.refused_orders((order.client_id, key))
        except Unavailable:
            raise _not_looked_up(refusal) from None
        if earlier is None:
            raise refusal
        return await self._replay(order, earlier, headers)

    async def _replay(self, order: OrderRequest, earlier: Order, headers: dict[str, str]) -> Outcome:
        """The earlier order with the same key as it stands now. Its fills are read if it is the same order.

        Raises IdempotencyKeyReused, Unavailable.
        """
        stored = (earlier.instrument.symbol, earlier.side, earlier.type, earlier.price, earlier.quantity)
        wanted = (order.instrument.symbol, order.side, order.type, order.price, order.quantity)
        if stored != wanted:
            raise IdempotencyKeyReused(headers=headers)
        document = _without_fills(earlier)
        if document is None:
            try:
                document = await self._reads.replays(find_order, str(earlier.order_id))
            except Unavailable as unavailable:
                raise Unavailable(str(unavailable.detail), headers=headers) from None
        if document is None:  # taken out meanwhile
            raise Unavailable(headers=headers)
        return Outcome(encode_json(document), True, headers)

    def _cancel_command(
        self, order_id: str, symbol: str, client_id: str, *, by_operator: bool = False
    ) -> CancelOrder:
        return CancelOrder(
            request_id=str(uuid_utils.uuid7()),
            reply_to=self._gateway.process_id,
            client_id=client_id,
            instrument=symbol,
            order_id=order_id,
            by_operator=by_operator,
        )

    async def _submit_cancel(self, command: CancelOrder, partition: int, bucket: int | None) -> Answer:
        """If no reply comes, the database tells what became of it.

        Raises RateLimited, Unavailable, OutcomeUnknown; OrderNotFound and OrderNotOpen if the database says so.
        """
        try:
            return await self._gateway.submit(
                command, partition=partition, client_id=None, client_bucket=bucket
            )
        except OutcomeUnknown as unknown:
            headers = unknown.headers
        try:
            document = await self._reads.cancelled(find_order, command.order_id)
        except Unavailable:
            raise cancel_unknown(headers) from None
        if document is None or command.client_id not in ("", document.client_id):
            raise no_such_order(headers)
        if document.status in RESTING_STATUSES:
            raise cancel_unknown(headers)
        if document.status != OrderStatus.CANCELLED:
            raise OrderNotOpen(headers=headers)
        return Answer(Reply(command.request_id, ReplyKind.CANCELLED, encode_json(document)), headers)

    async def _cancelled(self, order_id: str, reply: Reply, headers: dict[str, str]) -> Outcome:
        """The answer to a cancel that was done. Raises Unavailable, OutcomeUnknown."""
        if reply.kind is not ReplyKind.CANCELLED:
            raise Unavailable(reply.body.decode() or None, headers=headers)
        if reply.body:
            return Outcome(reply.body, False, headers)
        document = None
        with contextlib.suppress(Unavailable):
            document = await self._reads.cancelled(find_order, order_id)
        if document is None:  # it can't be read now, and is cancelled all the same
            raise cancel_unknown(headers)
        return Outcome(encode_json(document), False, headers)

    async def _count_refused_cancel(self, bucket: int) -> dict[str, str]:
        """Raises RateLimited."""
        instruments = (await self._instruments.all()).values()
        partition = min((instrument.partition for instrument in instruments), default=0)
        with contextlib.suppress(Unavailable, OutcomeUnknown):
            return await self._gateway.count_cancel(partition=partition, client_bucket=bucket)
        return {}

    async def _cancel_elsewhere(self, order_id: str, owner: str | None, headers: dict[str, str]) -> Outcome:
        """Cancel an order that no book has where its id points to: an old id, a moved instrument, or not open.

        Raises OrderNotFound, OrderNotOpen, Unavailable, OutcomeUnknown.
        """
        row = await self._reads.refused_cancels(order_id)
        if row is None or owner not in (None, row.client_id):
            raise no_such_order(headers)
        if not row.is_resting:
            raise OrderNotOpen(headers=headers)
        command = self._cancel_command(order_id, row.instrument.symbol, row.client_id)
        answer = await self._submit_cancel(command, row.instrument.partition, None)
        if answer.reply.kind is ReplyKind.NOT_OPEN:
            raise _in_no_book(await self._reads.refused_cancels(order_id), headers)
        return await self._cancelled(order_id, answer.reply, headers)


@per_event_loop
def current_desk() -> OrderDesk:
    """The desk of the running event loop, at its gateway."""
    return OrderDesk(current_gateway(), desk_reads(), directory)


def _not_looked_up(refusal: Refusal) -> Unavailable:
    """What to answer if it is not known whether an order that is refused has been placed before."""
    if isinstance(refusal, Unavailable):
        return refusal
    return Unavailable(
        "It could not be looked up whether this key has placed an order. Send it again after Retry-After.",
        headers=refusal.headers,
    )


def no_such_order(headers: dict[str, str] | None = None) -> OrderNotFound:
    return OrderNotFound(headers=headers)


def _in_no_book(now: Order | None, headers: dict[str, str]) -> Refusal:
    """Why the worker has not found an order that rested a moment ago; `now` is its row, read after that."""
    if now is not None and now.is_resting:
        return Unavailable(
            "The order's instrument is being moved to another worker; the order was not cancelled. Send the cancel"
            " again after Retry-After.",
            headers=headers,
        )
    return OrderNotOpen(headers=headers)


def cancel_unknown(headers: dict[str, str]) -> OutcomeUnknown:
    return OutcomeUnknown(
        "No answer came in time; the order may have been cancelled. Send the cancel again, which is harmless.",
        headers=headers,
    )


def _without_fills(row: Order) -> OrderDocument | None:
    """The whole order, if it has no fills."""
    if row.filled_quantity:
        return None
    return OrderDocument(**stored_state(row, row.instrument.symbol), trades=[])
