"""One gateway an event loop: it appends the commands that wait in one round trip and hands out their replies.

While one round trip runs, the next commands gather, so batches grow with load and no timer is needed. Nothing
here is retried: a command whose append may have happened waits for its reply like any other, and ends as
OutcomeUnknown where none comes in time.
"""

import asyncio
import logging
import math
import uuid
from typing import NamedTuple, Self

from django.conf import settings
from redis.exceptions import RedisError

from orders import messages
from orders.gateway.admission import Admission, AdmissionScript, Verdict
from orders.gateway.replies import ReplyListener
from rest.exceptions import OutcomeUnknown, RateLimited, Unavailable
from rest.loops import per_event_loop
from rest.redis import connect_redis

logger = logging.getLogger(__name__)

_REFUSALS = {
    Verdict.QUEUE_FULL: "The queue of orders is full; the request was not taken. Try again after Retry-After.",
    Verdict.NOBODY_MATCHING: "No matching worker is running; the request was not taken.",
    Verdict.REFUSED: "The queue refused the request; it was not taken. Try again after Retry-After.",
}


class Answer(NamedTuple):
    """A command's reply and the rate limit headers that belong to it."""

    reply: messages.Reply
    headers: dict[str, str]


class _Waiting:
    """A command on its way: appended or not yet, not replied to."""

    __slots__ = ("admission", "client_id", "payload", "reply")

    def __init__(self, client_id: str | None, payload: bytes, reply: asyncio.Future[messages.Reply]) -> None:
        self.client_id = client_id
        self.payload = payload
        self.reply = reply
        self.admission: Admission | None = None

    @property
    def headers(self) -> dict[str, str]:
        return self.admission.headers() if self.admission else {}


class OrderGateway:
    """Hands commands to the matching worker of their partition and waits for the replies."""

    def __init__(self) -> None:
        self.process_id = uuid.uuid4().hex
        self._redis = connect_redis()
        self._admission = AdmissionScript(self._redis)
        self._waiting: dict[str, _Waiting] = {}
        self._pending: dict[int, list[_Waiting]] = {}
        self._appending: dict[int, asyncio.Task[None]] = {}
        self._replies = ReplyListener(messages.reply_channel(self.process_id), self._on_reply)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop listening and close the connections; commands that still wait end as OutcomeUnknown."""
        await self._replies.aclose()
        for task in self._appending.values():
            task.cancel()
        for waiting in self._waiting.values():
            waiting.reply.cancel()
        await self._redis.aclose()

    async def submit(self, command: messages.Command, *, partition: int, client_id: str | None) -> Answer:
        """Send one command and wait for its reply. It counts against the limit of `client_id`; None: of nobody.

        Raises RateLimited and Unavailable where it was not taken, OutcomeUnknown where it was (or may have
        been) and no reply came within ORDER_REPLY_TIMEOUT_SECONDS.
        """
        if len(self._waiting) >= settings.GATEWAY_WAITING_MAX:
            raise Unavailable(_REFUSALS[Verdict.QUEUE_FULL])
        pending = self._pending.setdefault(partition, [])
        if len(pending) >= settings.GATEWAY_PENDING_MAX:
            raise Unavailable(_REFUSALS[Verdict.QUEUE_FULL])
        await self._replies.ready()
        loop = asyncio.get_running_loop()
        waiting = _Waiting(client_id, messages.encode(command), loop.create_future())
        self._waiting[command.request_id] = waiting
        pending.append(waiting)
        if partition not in self._appending:
            self._appending[partition] = asyncio.create_task(self._append_pending(partition))
        try:
            async with asyncio.timeout(settings.ORDER_REPLY_TIMEOUT_SECONDS):
                reply = await waiting.reply
        except TimeoutError:
            raise OutcomeUnknown(headers=waiting.headers) from None
        finally:
            del self._waiting[command.request_id]
        return Answer(reply, waiting.headers)

    async def _append_pending(self, partition: int) -> None:
        """Append until nothing is pending; one round trip at a time keeps the order of arrival."""
        try:
            while pending := self._pending[partition]:
                batch = pending[: settings.GATEWAY_BATCH_COMMANDS_MAX]
                del pending[: len(batch)]
                await self._append(partition, batch)
        finally:
            del self._appending[partition]

    async def _append(self, partition: int, batch: list[_Waiting]) -> None:
        try:
            # Where connecting fails nothing was sent; once it was, only the reply tells.
            pool = self._redis.connection_pool
            await pool.release(await pool.get_connection())  # type: ignore[no-untyped-call]
        except (RedisError, OSError) as error:
            self._refuse(batch, Unavailable("Redis is not answering; the request was not taken."), error)
            return
        try:
            admissions = await self._admission.admit(
                partition, [(waiting.client_id, waiting.payload) for waiting in batch]
            )
        except (RedisError, OSError) as error:
            logger.warning("append of %d commands: outcome unknown: %s", len(batch), error)
            return
        for waiting, admission in zip(batch, admissions, strict=True):
            waiting.admission = admission
            if admission.verdict is not Verdict.TAKEN and not waiting.reply.done():
                waiting.reply.set_exception(_refusal(admission))

    def _refuse(self, batch: list[_Waiting], refusal: Unavailable, cause: Exception) -> None:
        logger.warning("%d commands not taken: %s", len(batch), cause)
        for waiting in batch:
            if not waiting.reply.done():
                waiting.reply.set_exception(refusal)

    def _on_reply(self, reply: messages.Reply) -> None:
        waiting = self._waiting.get(reply.request_id)
        if waiting is not None and not waiting.reply.done():
            waiting.reply.set_result(reply)


def _refusal(admission: Admission) -> RateLimited | Unavailable:
    headers = admission.headers()
    if admission.verdict is Verdict.RATE_LIMITED:
        headers["Retry-After"] = str(max(1, math.ceil(admission.reset_milliseconds / 1000)))
        return RateLimited(headers=headers)
    return Unavailable(_REFUSALS[admission.verdict], headers=headers)


@per_event_loop
def current_gateway() -> OrderGateway:
    """The gateway of the running event loop, made when first asked for."""
    return OrderGateway()
