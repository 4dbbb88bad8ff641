"""The desk: from a validated request to the gateway, and from the reply to an answer.

The database is the authority on what was done. Where no reply came, or a key was used before, the answer is
read from it.
"""

from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import uuid_utils
from django.conf import settings

from orders import messages
from orders.documents import OrderDocument
from orders.gateway import OrderGateway, current_gateway
from orders.instruments import TradedInstrument
from orders.messages import CancelOrder, PlaceOrder, ReplyKind
from orders.models import Order, OrderStatus
from orders.selectors import find_order, find_order_by_key, find_order_row
from orders.serializers import to_grid
from rest.content import encode_json
from rest.database import DatabaseReader, Reader
from rest.exceptions import (
    BeyondLimits,
    IdempotencyKeyReused,
    InstrumentHalted,
    NotFound,
    OrderNotOpen,
    OutcomeUnknown,
    Refusal,
    Unavailable,
)
from rest.loops import per_event_loop
from rest.numbers import json_decimal, json_optional_decimal

# Not behind the reads: whoever can place orders must be able to cancel them.
_look_up = DatabaseReader(
    threads=settings.DESK_DATABASE_THREADS,
    places_max=settings.DATABASE_READS_MAX,
    seconds_max=settings.DESK_READ_SECONDS_MAX,
    statement_seconds_max=settings.DESK_READ_SECONDS_MAX,
)


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
    """Takes orders and cancels of clients, and what operators ask of the workers; `read` runs a selector."""

    def __init__(self, gateway: OrderGateway, read: Reader) -> None:
        self._gateway = gateway
        self._read = read

    async def place(self, order: OrderRequest) -> Outcome:
        """Place an order and wait until its effects are committed.

        Raises InvalidRequest, InstrumentHalted, IdempotencyKeyReused, RateLimited, Unavailable, OutcomeUnknown.
        """
        order_id = str(uuid_utils.uuid7())
        try:
            price_ticks, quantity_lots = to_grid(order.instrument, price=order.price, quantity=order.quantity)
            if order.instrument.halted:
                raise InstrumentHalted
            command = PlaceOrder(
                order_id=order_id,
                reply_to=self._gateway.process_id,
                client_id=order.client_id,
                instrument=order.instrument.symbol,
                side=order.side,
                type=order.type,
                price_ticks=price_ticks or 0,
                quantity_lots=quantity_lots,
                idempotency_key=order.idempotency_key,
            )
            answer = await self._gateway.submit(
                command, partition=order.instrument.partition, client_id=order.client_id
            )
        except (BeyondLimits, InstrumentHalted, Unavailable, OutcomeUnknown) as refusal:
            # Limits and halts hold for new orders: an earlier request may have placed this one.
            return await self._already_placed(order, order_id, refusal)
        reply, headers = answer.reply, answer.headers
        if reply.kind is ReplyKind.PLACED:
            return Outcome(reply.body, False, headers)
        if reply.kind is ReplyKind.DUPLICATE:
            earlier = await self._read(find_order, reply.body.decode())
            if earlier is not None:
                return _replay(order, earlier, headers)
            raise Unavailable(headers=headers)
        raise Unavailable(reply.body.decode() or None, headers=headers)

    async def cancel_by_id(self, order_id: UUID, *, owner: str | None) -> Outcome:
        """Cancel an order; that of another client than `owner`, where one is named, is as good as unknown.

        Raises what `cancel` raises.
        """
        row = await self._read(find_order_row, order_id)
        if row is None or owner not in (None, row.client_id):
            raise no_such_order()
        return await self.cancel(row)

    async def cancel(self, row: Order, *, by_operator: bool = False) -> Outcome:
        """Take a resting order off the book and wait until that is committed.

        An operator's cancel does not count against the client's rate limit.

        Raises NotFound, OrderNotOpen, RateLimited, Unavailable, OutcomeUnknown.
        """
        if not row.is_resting:
            raise OrderNotOpen
        command = CancelOrder(
            request_id=str(uuid_utils.uuid7()),
            reply_to=self._gateway.process_id,
            client_id=row.client_id,
            instrument=row.instrument.symbol,
            order_id=str(row.order_id),
        )
        try:
            answer = await self._gateway.submit(
                command,
                partition=row.instrument.partition,
                client_id=None if by_operator else row.client_id,
            )
        except OutcomeUnknown as unknown:
            document = await self._find_cancelled(row.order_id, unknown.headers)
            if document.status != OrderStatus.CANCELLED:
                raise
            return Outcome(encode_json(document), False, unknown.headers)
        reply, headers = answer.reply, answer.headers
        if reply.kind is ReplyKind.NOT_OPEN:
            raise OrderNotOpen(headers=headers)
        if reply.kind is not ReplyKind.CANCELLED:
            raise Unavailable(reply.body.decode() or None, headers=headers)
        return Outcome(encode_json(await self._find_cancelled(row.order_id, headers)), False, headers)

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

    async def _already_placed(self, order: OrderRequest, order_id: str, refusal: Refusal) -> Outcome:
        """The order of this request where the database has it; raises the refusal where it does not."""
        if order.idempotency_key is None and not isinstance(refusal, OutcomeUnknown):
            raise refusal  # not taken, and no earlier request can be told from this one
        try:
            if order.idempotency_key is not None:
                earlier = await self._read(find_order_by_key, order.client_id, order.idempotency_key)
            else:
                earlier = await self._read(find_order, order_id)
        except Unavailable:
            raise refusal from None
        if earlier is None:
            raise refusal
        if earlier.order_id == order_id:
            return Outcome(encode_json(earlier), False, refusal.headers)
        return _replay(order, earlier, refusal.headers)

    async def _find_cancelled(self, order_id: UUID, headers: dict[str, str]) -> OrderDocument:
        """Where it cannot be read, the cancel may be done all the same. Raises OutcomeUnknown, NotFound."""
        try:
            document = await self._read(find_order, order_id)
        except Unavailable:
            raise OutcomeUnknown(headers=headers) from None
        if document is None:
            raise no_such_order()
        return document


@per_event_loop
def current_desk() -> OrderDesk:
    """The desk of the running event loop, at its gateway."""
    return OrderDesk(current_gateway(), _look_up)


def no_such_order() -> NotFound:
    return NotFound("No order has this id.")


def _replay(order: OrderRequest, earlier: OrderDocument, headers: dict[str, str]) -> Outcome:
    if _terms(earlier) != (
        order.instrument.symbol,
        order.side,
        order.type,
        json_optional_decimal(order.price),
        json_decimal(order.quantity),
    ):
        raise IdempotencyKeyReused(headers=headers)
    return Outcome(encode_json(earlier), True, headers)


def _terms(document: OrderDocument) -> tuple[Any, ...]:
    return (document.instrument, document.side, document.order_type, document.price, document.quantity)
