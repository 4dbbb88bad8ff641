"""Cancels many orders of a client: by their ids, or all of them at once or after a time."""

import asyncio
import itertools
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec
import uuid_utils
from django.conf import settings

from base.refusals import Allowance, OutcomeUnknown, Refusal
from base.times import from_unix_milliseconds
from instruments.directory import TradedInstrument
from orders.desk.amending import Amending
from orders.desk.parts import CANCEL_SECONDS_MAX, OrderResult, least_allowance
from orders.gateway import GatewayReply, Submission
from orders.gateway.outcomes import least_certain, replies_of, with_advice
from orders.messages import CancelAfterCommand, CancelAllCommand, CancelledOrders, ReplyKind
from orders.order_ids import client_bucket
from orders.refusals import OrderNotFound, OrderNotOpen

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


class MassCancelling(Amending):
    """The part of the desk that cancels many orders with one request."""

    async def cancel_by_ids(self, order_ids: Sequence[UUID], *, owner: str | None) -> MassCancelResult:
        """Cancel the orders with these ids. Each counts as one cancel.

        Raises RateLimited, Unavailable, OutcomeUnknown: then some of the orders may be cancelled.
        """
        results = await self.cancel_each(order_ids, owner=owner)
        cancelled: list[str] = []
        not_open: list[str] = []
        not_found: list[str] = []
        failures: list[Refusal] = []
        for order_id, result in zip(order_ids, results, strict=True):
            if isinstance(result, OrderResult):
                cancelled.append(str(order_id))
            elif isinstance(result, OrderNotOpen):
                not_open.append(str(order_id))
            elif isinstance(result, OrderNotFound):
                not_found.append(str(order_id))
            else:
                failures.append(result)
        if failures:
            raise with_advice(least_certain(failures))
        allowance = least_allowance(result.allowance for result in results)
        return MassCancelResult(cancelled, len(cancelled), not_open, not_found, allowance)

    async def cancel_by_key(self, client_id: str, key: str) -> MassCancelResult:
        """Cancel the order that has this idempotency key, also if it is still on its way.

        Raises what `cancel_by_ids` raises.
        """
        try:
            async with asyncio.timeout(CANCEL_SECONDS_MAX):
                row, allowance = await self._find_by_key(
                    client_id, key, lambda: self._count_refused_cancel(client_bucket(client_id))
                )
                if row is None:
                    return MassCancelResult([], 0, [], [key], allowance)
                return await self.cancel_by_ids([row.order_id], owner=client_id)
        except TimeoutError:
            raise with_advice(OutcomeUnknown()) from None

    async def cancel_all(
        self, client_id: str, *, instrument: TradedInstrument | None, side: str | None
    ) -> MassCancelResult:
        """Cancel everything of a client that is open or pending, piece by piece in each partition.

        It counts as one cancel in each of them. Raises RateLimited, Unavailable, OutcomeUnknown: then
        some of the orders may be cancelled. So it is if there are too many for CANCEL_SECONDS_MAX.
        """
        partitions = await self.partitions() if instrument is None else [instrument.partition]
        commands = [
            CancelAllCommand(
                request_id=str(uuid_utils.uuid7()),
                reply_to=self._gateway.process_id,
                client_id=client_id,
                instrument=None if instrument is None else instrument.symbol,
                side=side,
                guard=self._carried_guard,
            )
            for _ in partitions
        ]
        try:
            async with asyncio.timeout(CANCEL_SECONDS_MAX):
                answers = await self._submit_to_all(commands, partitions, client_id, ReplyKind.CANCELLED_ALL)
                work = map(self._cancel_rest, commands, partitions, answers)
                cancelled = list(itertools.chain.from_iterable(await asyncio.gather(*work)))
        except TimeoutError:
            raise with_advice(OutcomeUnknown()) from None
        order_ids = [order_id for some in cancelled for order_id in some.order_ids]
        return MassCancelResult(
            order_ids[: settings.CANCELLED_IDS_MAX],
            sum(some.count for some in cancelled),
            [],
            [],
            least_allowance(answer.allowance for answer in answers),
        )

    async def _cancel_rest(
        self, first: CancelAllCommand, partition: int, answer: GatewayReply
    ) -> list[CancelledOrders]:
        """Cancel what the first piece left; returns what all pieces have cancelled.

        Raises Unavailable, OutcomeUnknown.
        """
        pieces = [_decode_cancelled(answer.reply.body)]
        while pieces[-1].is_more:
            piece = msgspec.structs.replace(
                first, request_id=str(uuid_utils.uuid7()), continues=first.request_id
            )
            outcome = await self._submit(Submission(piece, partition, None))
            (answer,) = replies_of([outcome], ReplyKind.CANCELLED_ALL)
            pieces.append(_decode_cancelled(answer.reply.body))
        return pieces

    async def cancel_after(self, client_id: str, timeout_seconds: int) -> SwitchResult:
        """Set a client's dead man's switch in all partitions, or remove it if the time is 0.

        It counts as one cancel in each of them. Raises RateLimited, Unavailable, OutcomeUnknown: then
        it may be set in some of the partitions.
        """
        partitions = await self.partitions()
        commands = [
            CancelAfterCommand(
                request_id=str(uuid_utils.uuid7()),
                reply_to=self._gateway.process_id,
                client_id=client_id,
                timeout_seconds=timeout_seconds,
                guard=self._carried_guard,
            )
            for _ in partitions
        ]
        answers = await self._submit_to_all(commands, partitions, client_id, ReplyKind.DONE)
        due = [due_ms for answer in answers if (due_ms := _decode_due(answer.reply.body)) is not None]
        return SwitchResult(
            from_unix_milliseconds(max(due)) if due else None,
            least_allowance(answer.allowance for answer in answers),
        )

    async def _submit_to_all(
        self,
        commands: Sequence[CancelAllCommand | CancelAfterCommand],
        partitions: Sequence[int],
        client_id: str,
        expected: ReplyKind,
    ) -> list[GatewayReply]:
        """Send a command to each partition and return the replies.

        Raises RateLimited, Unavailable, OutcomeUnknown if one of the partitions does not reply.
        """
        outcomes = await self._gateway.submit_many(
            [
                Submission(command, partition, client_id)
                for command, partition in zip(commands, partitions, strict=True)
            ]
        )
        return replies_of(outcomes, expected)
