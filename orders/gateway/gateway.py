"""One gateway an event loop: commands go out through an appender a partition, replies come back to who waits.

Nothing here is retried: a command whose append may have happened waits for its reply like any other, and ends
as OutcomeUnknown where none comes in time.
"""

import asyncio
import math
import uuid
from typing import Self

import msgspec
from django.conf import settings

from orders import messages
from orders.gateway.admission import Admission, Verdict
from orders.gateway.appender import Appender, WaitingCommand
from orders.gateway.link import RedisLink
from rest.exceptions import OutcomeUnknown, RateLimited, Unavailable
from rest.loops import per_event_loop

_REFUSALS = {
    Verdict.QUEUE_FULL: "The queue of orders is full; the request was not taken. Try again after Retry-After.",
    Verdict.NOBODY_MATCHING: "No matching worker is running; the request was not taken.",
    Verdict.REFUSED: "The queue refused the request; it was not taken. Try again after Retry-After.",
}


class Answer(msgspec.Struct, frozen=True):
    """A command's reply and the rate limit headers that belong to it."""

    reply: messages.Reply
    headers: dict[str, str]


class OrderGateway:
    """Hands commands to the matching worker of their partition and waits for the replies."""

    def __init__(self, link: RedisLink) -> None:
        self.process_id = uuid.uuid4().hex
        self._link = link
        self._waiting_max = settings.GATEWAY_WAITING_MAX  # looked up once: these are asked for each order
        self._reply_timeout_seconds = settings.ORDER_REPLY_TIMEOUT_SECONDS
        self._waiting: dict[str, WaitingCommand] = {}  # in the order of their deadlines
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

    async def submit(self, command: messages.Command, *, partition: int, client_id: str | None) -> Answer:
        """Send one command and wait for its reply. It counts against the limit of `client_id`; None: of nobody.

        Raises RateLimited and Unavailable where it was not taken, OutcomeUnknown where it was (or may have
        been) and no reply came within ORDER_REPLY_TIMEOUT_SECONDS.
        """
        appender = self._appenders.get(partition)
        if appender is None:
            appender = self._appenders[partition] = Appender(self._link.admission(partition), _on_admission)
        if appender.full or len(self._waiting) >= self._waiting_max:
            raise Unavailable(_REFUSALS[Verdict.QUEUE_FULL])
        if not self._replies.connected:
            await self._replies.ready()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._reply_timeout_seconds
        waiting = WaitingCommand(client_id, messages.encode(command), loop.create_future(), deadline)
        self._waiting[command.request_id] = waiting
        if self._deadline is None:
            self._deadline = loop.call_at(deadline, self._give_up)
        appender.put(waiting)
        try:
            return Answer(await waiting.reply, waiting.headers)
        finally:
            del self._waiting[command.request_id]

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
                waiting.refuse(OutcomeUnknown(headers=waiting.headers))
            else:
                waiting.refuse(Unavailable("Redis is not answering; the request was not taken."))

    def _on_reply(self, reply: messages.Reply) -> None:
        waiting = self._waiting.get(reply.request_id)
        if waiting is not None:
            waiting.answer(reply)


def _on_admission(waiting: WaitingCommand, admission: Admission) -> None:
    if admission.verdict is not Verdict.TAKEN:
        waiting.refuse(_refusal(admission))


def _refusal(admission: Admission) -> RateLimited | Unavailable:
    headers = admission.headers()
    if admission.verdict is Verdict.RATE_LIMITED:
        headers["Retry-After"] = str(max(1, math.ceil(admission.reset_milliseconds / 1000)))
        return RateLimited(headers=headers)
    return Unavailable(_REFUSALS[admission.verdict], headers=headers)


@per_event_loop
def current_gateway() -> OrderGateway:
    """The gateway of the running event loop, made when first asked for."""
    return OrderGateway(RedisLink())
