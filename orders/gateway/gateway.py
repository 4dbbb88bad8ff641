"""The gateway from one event loop to the matching workers.

Each partition has an appender for its commands. Replies are passed to the requests that wait for
them. The gateway never retries: if an append fails but may have happened, the command still waits
for its reply, and ends as OutcomeUnknown if no reply arrives in time.
"""

import asyncio
import itertools
import math
import uuid
from collections.abc import Coroutine, Sequence
from typing import Any, NamedTuple, Self

import msgspec
from django.conf import settings

from base.loops import per_event_loop
from base.refusals import Allowance, OutcomeUnknown, RateLimited, Refusal, Unavailable
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
from orders.messages import AmendCommand, PlaceCommand
from orders.order_ids import client_bucket

_REFUSAL_MESSAGES = {
    Verdict.QUEUE_FULL: "The queue is full. The request was not processed. Try again after Retry-After.",
    Verdict.NOBODY_MATCHING: "No matching worker is running. The request was not processed.",
    Verdict.REFUSED: "The queue refused the request. It was not processed. Try again after Retry-After.",
}


_COUNTED = messages.Reply("", messages.ReplyKind.DONE)  # for a command that only counts


class RefusedByQueue(Unavailable):
    """The queue refused the command. Redis is answering, so it can count a look-up."""


class GatewayReply(msgspec.Struct, frozen=True):
    """The reply to a command, and the client's allowance, or None if no limit was checked."""

    reply: messages.Reply
    allowance: Allowance | None


class Submission(NamedTuple):
    """A command, and what it counts against: see `OrderGateway.submit`."""

    command: messages.Command
    partition: int
    client_id: str | None
    client_bucket: int | None = None


class OrderGateway:
    """Sends commands to the matching workers of their partitions, and waits for the replies."""

    def __init__(self, link: RedisLink, *, make_appender: type[Appender] = Appender) -> None:
        self.process_id = uuid.uuid4().hex
        self._link = link
        self._make_appender = make_appender
        # Read once, because every order needs these and each access to the settings costs time.
        self._orders_max = settings.GATEWAY_WAITING_MAX
        self._others_max = settings.GATEWAY_WAITING_CANCELS_MAX
        self._reply_timeout_seconds = settings.ORDER_REPLY_TIMEOUT_SECONDS
        # The commands that wait for a reply, by request id, in the order of their deadlines.
        self._waiting: dict[str, WaitingCommand] = {}
        self._orders_waiting = 0  # the number of orders among them
        self._counts = itertools.count(1)
        self._timer: asyncio.TimerHandle | None = None  # ends at the first deadline
        self._appenders: dict[int, Appender] = {}
        self._replies = link.replies(self.process_id, self._on_reply, self._on_connection_lost)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections, and cancel the commands that still wait."""
        await self._replies.aclose()
        for appender in self._appenders.values():
            await appender.aclose()
        for waiting in self._waiting.values():
            waiting.reply.cancel()
        if self._timer is not None:
            self._timer.cancel()
        await self._link.aclose()

    async def ready(self) -> None:
        """Wait until replies can arrive. Raises Unavailable if Redis is not answering."""
        await self._replies.ready()

    def submit(
        self,
        command: messages.Command,
        *,
        partition: int,
        client_id: str | None,
        client_bucket: int | None = None,
    ) -> Coroutine[Any, Any, GatewayReply]:
        """Send one command and wait for its reply.

        An order or an amend counts against the rate limit of `client_id`. Any other command counts against the
        cancel limit of `client_bucket` (see orders/order_ids.py), or of the bucket of `client_id`.
        If both are None, the command counts against no limit.

        Raises RateLimited and Unavailable if the command was not appended; OutcomeUnknown if it was
        or may have been appended, and no reply arrived within ORDER_REPLY_TIMEOUT_SECONDS.
        """
        applicant = _applicant(command, partition, client_id, client_bucket)
        return self._submit(applicant, command.request_id, partition)

    async def submit_many(self, submissions: Sequence[Submission]) -> list[GatewayReply | Refusal]:
        """Send commands, and return the reply or the refusal of each in the given order.

        The commands of a partition are next to each other in its stream.
        """
        try:
            await self._replies.ready()
        except Unavailable as refusal:
            return [refusal] * len(submissions)
        outcomes: list[WaitingCommand | Refusal] = []
        last: dict[int, WaitingCommand] = {}  # by partition
        for command, partition, client_id, bucket in submissions:
            applicant = _applicant(command, partition, client_id, bucket)
            try:
                waiting = self._put(applicant, command.request_id, partition)
            except Unavailable as refusal:
                outcomes.append(refusal)
                continue
            if partition in last:
                waiting.follows = True
            last[partition] = waiting
            outcomes.append(waiting)
        results: list[GatewayReply | Refusal] = []
        try:
            for submission, outcome in zip(submissions, outcomes, strict=True):
                if isinstance(outcome, Refusal):
                    results.append(outcome)
                    continue
                try:
                    results.append(await self._result(outcome, submission.command.request_id))
                except Refusal as refusal:
                    results.append(refusal)
        finally:  # the request may have ended before all replies arrived
            done = len(results)
            for submission, outcome in zip(submissions[done:], outcomes[done:], strict=True):
                self._forget(submission.command.request_id)
                if isinstance(outcome, WaitingCommand):
                    outcome.abandon()
        return results

    async def count_order(self, *, partition: int, client_id: str) -> Allowance | None:
        """Count work for a client as an order, although no order was appended.

        Returns the client's allowance.

        Raises RateLimited; Unavailable if nothing was counted; OutcomeUnknown if that is unknown.
        """
        applicant = Applicant(COUNT_ORDER, messages.rate_key(partition, client_id), b"")
        return (await self._submit(applicant, f"count-{next(self._counts)}", partition)).allowance

    async def count_cancel(self, *, partition: int, client_bucket: int) -> Allowance | None:
        """Like `count_order`, for the limit of cancels."""
        applicant = Applicant(COUNT_CANCEL, messages.cancel_rate_key(partition, client_bucket), b"")
        return (await self._submit(applicant, f"count-{next(self._counts)}", partition)).allowance

    async def _submit(self, applicant: Applicant, request_id: str, partition: int) -> GatewayReply:
        if not self._replies.connected:
            await self._replies.ready()
        return await self._result(self._put(applicant, request_id, partition), request_id)

    def _put(self, applicant: Applicant, request_id: str, partition: int) -> WaitingCommand:
        """Hand a command to the appender of its partition. Raises Unavailable if there is no room."""
        appender = self._appenders.get(partition)
        if appender is None:
            appender = self._make_appender(self._link.admission(partition), _on_admission)
            self._appenders[partition] = appender
        loop = asyncio.get_running_loop()
        waiting = WaitingCommand(applicant, loop.create_future(), loop.time() + self._reply_timeout_seconds)
        is_order = waiting.is_order
        if appender.is_full(is_order) or self._is_full(is_order):
            raise Unavailable(_REFUSAL_MESSAGES[Verdict.QUEUE_FULL])
        self._waiting[request_id] = waiting
        self._orders_waiting += is_order
        if self._timer is None:
            self._timer = loop.call_at(waiting.deadline, self._expire_commands)
        appender.put(waiting)
        return waiting

    async def _result(self, waiting: WaitingCommand, request_id: str) -> GatewayReply:
        try:
            return GatewayReply(await waiting.reply, waiting.allowance)
        finally:
            self._forget(request_id)

    def _forget(self, request_id: str) -> None:
        waiting = self._waiting.pop(request_id, None)
        if waiting is not None:
            self._orders_waiting -= waiting.is_order

    def _is_full(self, is_order: bool) -> bool:
        """Return whether no more orders, or no more of all other commands, may wait."""
        if is_order:
            return self._orders_waiting >= self._orders_max
        return len(self._waiting) - self._orders_waiting >= self._others_max

    async def _on_connection_lost(self) -> None:
        """Disconnect the appenders: the server has probably closed their connections too."""
        for appender in self._appenders.values():
            await appender.disconnect()

    def _expire_commands(self) -> None:
        """End all commands whose deadline has passed, and set the timer for the next deadline.

        All commands share one timer. A timer for each would cost more than all other work here.
        """
        loop = asyncio.get_running_loop()
        self._timer = None
        for waiting in self._waiting.values():
            if waiting.deadline > loop.time():
                self._timer = loop.call_at(waiting.deadline, self._expire_commands)
                return
            waiting.end_append(waiting.admission)  # an early reply is still used
            if waiting.sent:
                waiting.refuse(OutcomeUnknown(allowance=waiting.allowance))
            else:
                waiting.refuse(Unavailable("Redis is not answering. The request was not processed."))

    def _on_reply(self, reply: messages.Reply) -> None:
        waiting = self._waiting.get(reply.request_id)
        if waiting is not None:
            waiting.answer(reply)


def _applicant(
    command: messages.Command, partition: int, client_id: str | None, bucket: int | None
) -> Applicant:
    if type(command) is PlaceCommand or type(command) is AmendCommand:
        rate_key = None if client_id is None else messages.rate_key(partition, client_id)
        return Applicant(ORDER, rate_key, messages.encode(command))
    return Applicant(OTHER, _cancel_key(partition, client_id, bucket), messages.encode(command))


def _cancel_key(partition: int, client_id: str | None, bucket: int | None) -> str | None:
    if bucket is None:
        if client_id is None:
            return None
        bucket = client_bucket(client_id)
    return messages.cancel_rate_key(partition, bucket)


def _on_admission(waiting: WaitingCommand, admission: Admission) -> None:
    if admission.verdict is not Verdict.TAKEN:
        waiting.refuse(_refusal_of(admission))
    elif waiting.counts_only:
        waiting.answer(_COUNTED)


def _refusal_of(admission: Admission) -> RateLimited | RefusedByQueue:
    if admission.verdict is Verdict.RATE_LIMITED:
        seconds = max(1, math.ceil(admission.reset_milliseconds / 1000))
        return RateLimited(allowance=admission.allowance, retry_after_seconds=seconds)
    return RefusedByQueue(_REFUSAL_MESSAGES[admission.verdict], allowance=admission.allowance)


@per_event_loop
def current_gateway() -> OrderGateway:
    """Return the gateway of the running event loop, which the first call makes."""
    return OrderGateway(RedisLink())
