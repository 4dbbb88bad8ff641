"""One gateway an event loop: commands go out through an appender a partition, replies come back to who waits.

Nothing here is retried: a command whose append may have happened waits for its reply like any other, and ends
as OutcomeUnknown where none comes in time.
"""

import asyncio
import itertools
import math
import uuid
from collections.abc import Coroutine
from typing import Any, Self

import msgspec
from django.conf import settings

from base.loops import per_event_loop
from base.refusals import Allowance, OutcomeUnknown, RateLimited, Unavailable
from orders import messages
from orders.gateway.admission import (
    COUNT_CANCEL,
    COUNT_ORDER,
    ORDER,
    OTHER,
    Admission,
    Applicant,
    Verdict,
)
from orders.gateway.appender import Appender, WaitingCommand
from orders.gateway.link import RedisLink
from orders.messages import PlaceOrder
from orders.order_ids import client_bucket

_REFUSALS = {
    Verdict.QUEUE_FULL: "The queue of orders is full; the request was not taken. Try again after Retry-After.",
    Verdict.NOBODY_MATCHING: "No matching worker is running; the request was not taken.",
    Verdict.REFUSED: "The queue refused the request; it was not taken. Try again after Retry-After.",
}


_COUNTED = messages.Reply("", messages.ReplyKind.DONE)


class NotTaken(Unavailable):
    """The same, said by the queue itself: Redis is there, and can count what comes of it."""


class Answer(msgspec.Struct, frozen=True):
    """A command's reply, and what the rate limit leaves to the client, if one was asked."""

    reply: messages.Reply
    allowance: Allowance | None


class OrderGateway:
    """Hands commands to the matching worker of their partition and waits for the replies."""

    def __init__(self, link: RedisLink) -> None:
        self.process_id = uuid.uuid4().hex
        self._link = link
        # Looked up once: these are asked for each order.
        self._orders_max = settings.GATEWAY_WAITING_MAX
        self._others_max = settings.GATEWAY_WAITING_CANCELS_MAX
        self._reply_timeout_seconds = settings.ORDER_REPLY_TIMEOUT_SECONDS
        self._waiting: dict[str, WaitingCommand] = {}  # in the order of their deadlines
        self._orders_waiting = 0  # among them
        self._counts = itertools.count(1)
        self._deadline: asyncio.TimerHandle | None = None  # of the first of them
        self._appenders: dict[int, Appender] = {}
        self._replies = link.replies(self.process_id, self._on_reply, self._on_connection_lost)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop listening and close the connections; commands that still wait are cancelled."""
        await self._replies.aclose()
        for appender in self._appenders.values():
            await appender.aclose()
        for waiting in self._waiting.values():
            waiting.reply.cancel()
        if self._deadline is not None:
            self._deadline.cancel()
        await self._link.aclose()

    async def ready(self) -> None:
        """Returns when replies will arrive; raises Unavailable where Redis is not answering."""
        await self._replies.ready()

    def submit(
        self,
        command: messages.Command,
        *,
        partition: int,
        client_id: str | None,
        client_bucket: int | None = None,
    ) -> Coroutine[Any, Any, Answer]:
        """Send one command and wait for its reply.

        An order counts against the limit of `client_id`, any other command against the limit of cancels of
        `client_bucket` (see orders/order_ids.py), or of that of `client_id`. Without either it counts against
        nobody's.

        Raises RateLimited and Unavailable if it was not taken, OutcomeUnknown if it was (or may have
        been) and no reply came within ORDER_REPLY_TIMEOUT_SECONDS.
        """
        if type(command) is PlaceOrder:
            kind = ORDER
            rate_key = None if client_id is None else messages.rate_key(partition, client_id)
        else:
            kind = OTHER
            rate_key = _cancel_key(partition, client_id, client_bucket)
        applicant = Applicant(kind, rate_key, messages.encode(command))
        return self._apply(applicant, command.request_id, partition)

    async def count_order(self, *, partition: int, client_id: str) -> Allowance | None:
        """Count work that is done for a client, though no order of it was taken; returns what is left to it.

        Raises RateLimited; Unavailable or OutcomeUnknown if it was not counted, or may not have been.
        """
        applicant = Applicant(COUNT_ORDER, messages.rate_key(partition, client_id), b"")
        return (await self._apply(applicant, f"count-{next(self._counts)}", partition)).allowance

    async def count_cancel(self, *, partition: int, client_bucket: int) -> Allowance | None:
        """The same against the limit of cancels."""
        applicant = Applicant(COUNT_CANCEL, messages.cancel_rate_key(partition, client_bucket), b"")
        return (await self._apply(applicant, f"count-{next(self._counts)}", partition)).allowance

    async def _apply(self, applicant: Applicant, request_id: str, partition: int) -> Answer:
        appender = self._appenders.get(partition)
        if appender is None:
            appender = self._appenders[partition] = Appender(self._link.admission(partition), _on_admission)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._reply_timeout_seconds
        waiting = WaitingCommand(applicant, loop.create_future(), deadline)
        is_order = waiting.is_order
        if appender.is_full(is_order) or self._is_full(is_order):
            raise Unavailable(_REFUSALS[Verdict.QUEUE_FULL])
        if not self._replies.connected:
            await self._replies.ready()
            waiting.deadline = loop.time() + self._reply_timeout_seconds
        self._waiting[request_id] = waiting
        self._orders_waiting += is_order
        if self._deadline is None:
            self._deadline = loop.call_at(waiting.deadline, self._give_up)
        appender.put(waiting)
        try:
            return Answer(await waiting.reply, waiting.allowance)
        finally:
            del self._waiting[request_id]
            self._orders_waiting -= is_order

    def _is_full(self, is_order: bool) -> bool:
        """Orders, and all other commands, have rooms of their own."""
        if is_order:
            return self._orders_waiting >= self._orders_max
        return len(self._waiting) - self._orders_waiting >= self._others_max

    async def _on_connection_lost(self) -> None:
        """The server that cut off the reply channel has cut off the appenders too."""
        for appender in self._appenders.values():
            await appender.disconnect()

    def _give_up(self) -> None:
        """On those whose time is over. One timer for all: each would cost more than what else is done here."""
        loop = asyncio.get_running_loop()
        self._deadline = None
        for waiting in self._waiting.values():
            if waiting.deadline > loop.time():
                self._deadline = loop.call_at(waiting.deadline, self._give_up)
                return
            waiting.end_append(waiting.admission)  # a reply that is here counts
            if waiting.sent:
                waiting.refuse(OutcomeUnknown(allowance=waiting.allowance))
            else:
                waiting.refuse(Unavailable("Redis is not answering; the request was not taken."))

    def _on_reply(self, reply: messages.Reply) -> None:
        waiting = self._waiting.get(reply.request_id)
        if waiting is not None:
            waiting.answer(reply)


def _cancel_key(partition: int, client_id: str | None, bucket: int | None) -> str | None:
    if bucket is None:
        if client_id is None:
            return None
        bucket = client_bucket(client_id)
    return messages.cancel_rate_key(partition, bucket)


def _on_admission(waiting: WaitingCommand, admission: Admission) -> None:
    if admission.verdict is not Verdict.TAKEN:
        waiting.refuse(_refusal(admission))
    elif waiting.counts_only:
        waiting.answer(_COUNTED)


def _refusal(admission: Admission) -> RateLimited | NotTaken:
    if admission.verdict is Verdict.RATE_LIMITED:
        seconds = max(1, math.ceil(admission.reset_milliseconds / 1000))
        return RateLimited(allowance=admission.allowance, retry_after_seconds=seconds)
    return NotTaken(_REFUSALS[admission.verdict], allowance=admission.allowance)


@per_event_loop
def current_gateway() -> OrderGateway:
    """The gateway of the running event loop, made when first asked for."""
    return OrderGateway(RedisLink())
