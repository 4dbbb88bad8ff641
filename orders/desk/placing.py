"""Places orders, alone or many together."""

import asyncio
import contextlib
from collections.abc import Coroutine, Sequence
from typing import Any

from django.conf import settings

from base.encoding import encode_json
from base.refusals import Allowance, OutcomeUnknown, Refusal, Unavailable
from base.times import unix_milliseconds
from instruments.refusals import InstrumentHalted
from orders.desk.parts import DeskPart, OrderResult, result_or_refusal, unfilled_document
from orders.gateway import GatewayReply, RefusedByQueue, Submission
from orders.messages import PlaceCommand, ReplyKind
from orders.models import Order
from orders.order_ids import new_order_id
from orders.refusals import BeyondLimits, IdempotencyKeyReused
from orders.requests import OrderRequest
from orders.selectors import find_order, find_order_row, find_order_rows_by_key

_TAKES_NO_ORDERS = (BeyondLimits, InstrumentHalted, Unavailable)
"""Refusals of new orders only. An earlier request may have placed the order."""


class Placing(DeskPart):
    """The part of the desk that places orders."""

    async def place(self, order: OrderRequest) -> OrderResult:
        """Place an order and wait until its effects are committed.

        Raises InvalidRequest, InstrumentHalted, IdempotencyKeyReused, RateLimited, Unavailable,
        OutcomeUnknown.
        """
        command: PlaceCommand | None = None
        outcome: GatewayReply | Refusal
        try:
            command = self._command(order)
            outcome = await self._gateway.submit(
                command, partition=order.instrument.partition, client_id=order.client_id
            )
        except Refusal as refusal:
            outcome = refusal
        return await self._result(order, command, outcome)

    async def place_many(self, orders: Sequence[OrderRequest | Refusal]) -> list[OrderResult | Refusal]:
        """Place orders together, and return the result of each in the given order.

        The orders of a partition are next to each other in its stream. An item that is a refusal
        already stays as it is.
        """
        requests = [order for order in orders if isinstance(order, OrderRequest)]
        commands = [self._command_or_refusal(order) for order in requests]
        outcomes = iter(
            await self._gateway.submit_many(
                [
                    Submission(command, order.instrument.partition, order.client_id)
                    for order, command in zip(requests, commands, strict=True)
                    if isinstance(command, PlaceCommand)
                ]
            )
        )
        results: list[OrderResult | Refusal | None] = []
        unsettled: list[Coroutine[Any, Any, OrderResult]] = []
        for order, command in zip(requests, commands, strict=True):
            if isinstance(command, Refusal):
                unsettled.append(self._result(order, None, command))
                results.append(None)
                continue
            outcome = next(outcomes)
            result = _placed(outcome)  # Nearly all orders need nothing else: no task for each of them.
            if result is None:
                unsettled.append(self._result(order, command, outcome))
            results.append(result)
        settled = iter(await asyncio.gather(*map(result_or_refusal, unsettled)))
        complete = iter([next(settled) if result is None else result for result in results])
        return [order if isinstance(order, Refusal) else next(complete) for order in orders]

    def _command_or_refusal(self, order: OrderRequest) -> PlaceCommand | Refusal:
        try:
            return self._command(order)
        except Refusal as refusal:
            return refusal

    def check(self, order: OrderRequest) -> None:
        """Check an order as `place` does, and take nothing.

        Raises InvalidRequest, InstrumentHalted.
        """
        self._command(order)

    def _command(self, order: OrderRequest) -> PlaceCommand:
        """Return the command of an order. Raises InvalidRequest, InstrumentHalted."""
        instrument = order.instrument
        price_ticks, quantity_lots, trigger_price_ticks = order.to_grid()
        if instrument.halted:
            raise InstrumentHalted
        return PlaceCommand(
            order_id=new_order_id(instrument_id=instrument.instrument_id, client_id=order.client_id),
            reply_to=self._gateway.process_id,
            client_id=order.client_id,
            instrument=instrument.symbol,
            side=order.side,
            order_type=order.order_type,
            price_ticks=price_ticks,
            quantity_lots=quantity_lots,
            idempotency_key=order.idempotency_key,
            terms=None if order.idempotency_key is None else order.terms,
            time_in_force=order.time_in_force,
            post_only=order.post_only,
            self_trade_prevention=order.prevention,
            trigger_price_ticks=trigger_price_ticks,
            expires_at_ms=None if order.expires_at is None else unix_milliseconds(order.expires_at),
            guard=self._carried_guard,
        )

    async def _result(
        self, order: OrderRequest, command: PlaceCommand | None, outcome: GatewayReply | Refusal
    ) -> OrderResult:
        """Return the order that the outcome of its command tells of, or an earlier one.

        `command` is None if the order was refused before. Raises what `place` raises.
        """
        placed = _placed(outcome)
        if placed is not None:
            return placed
        if isinstance(outcome, OutcomeUnknown) and command is not None:
            return await self._find_placed(order, command.order_id, outcome.allowance)
        if isinstance(outcome, Refusal):
            if order.idempotency_key is None or not isinstance(outcome, _TAKES_NO_ORDERS):
                raise outcome
            return await self._find_earlier(order, order.idempotency_key, outcome)
        reply, allowance = outcome.reply, outcome.allowance
        if reply.kind is ReplyKind.DUPLICATE:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(settings.DESK_READ_SECONDS_MAX):
                    earlier = await self._reads.orders(find_order_row, reply.body.decode())
                    if earlier is not None:
                        return await self._replay(order, earlier, allowance)
            raise Unavailable(allowance=allowance)
        raise Unavailable(reply.body.decode() or None, allowance=allowance)

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
        if not order.is_same_as(earlier):
            raise IdempotencyKeyReused(allowance=allowance)
        document = unfilled_document(earlier)
        if document is None:
            try:
                document = await self._reads.replays(find_order, str(earlier.order_id))
            except Unavailable as unavailable:
                raise Unavailable(unavailable.message, allowance=allowance) from None
        if document is None:  # the order was pruned meanwhile
            raise Unavailable(allowance=allowance)
        return OrderResult(encode_json(document), True, allowance)


def _placed(outcome: GatewayReply | Refusal) -> OrderResult | None:
    """Return the order if the outcome is a new order, or None."""
    if isinstance(outcome, GatewayReply) and outcome.reply.kind is ReplyKind.PLACED:
        return OrderResult(outcome.reply.body, False, outcome.allowance)
    return None


def _key_not_looked_up(refusal: Refusal) -> Unavailable:
    """Return the refusal of an order if it is unknown whether an earlier request placed it."""
    if isinstance(refusal, Unavailable):
        return refusal
    return Unavailable(
        "The exchange could not check if this key has placed an order. Send it again after Retry-After.",
        allowance=refusal.allowance,
    )
