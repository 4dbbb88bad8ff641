"""Appends the commands of one partition to its stream, in batches.

While one round trip runs, new commands are collected for the next one. Batches therefore grow with
the load, and no timer is needed. Only one round trip runs at a time, which keeps the order of
arrival.
"""

import asyncio
import logging
from collections.abc import Callable

from django.conf import settings
from redis.exceptions import RedisError

from base.outages import Outage
from base.refusals import Allowance, Unavailable
from orders import messages
from orders.gateway.admission import AS_ORDERS, COUNTS_ONLY, Admission, AdmissionScript, Applicant

logger = logging.getLogger(__name__)


class WaitingCommand:
    """A command that waits for its append or for its reply.

    `deadline` is the event loop's time at which the request stops waiting. The admission and the
    reply arrive on two connections. If the reply is first, it is kept until the admission arrives
    with the client's allowance. A command that only counts gets no reply from the worker: its
    admission is enough.
    """

    __slots__ = (
        "_early_reply",
        "admission",
        "appending",
        "applicant",
        "deadline",
        "follows",
        "is_order",
        "reply",
        "sent",
    )

    def __init__(self, applicant: Applicant, reply: asyncio.Future[messages.Reply], deadline: float) -> None:
        self.applicant = applicant
        self.is_order = applicant.kind in AS_ORDERS  # whether it takes a place of orders
        self.reply = reply
        self.deadline = deadline
        self.follows = False  # whether it must be next to the command before it in the stream
        self.sent = False  # whether it may have been appended
        self.appending = False  # whether its admission is still expected
        self.admission: Admission | None = None
        self._early_reply: messages.Reply | None = None

    @property
    def counts_only(self) -> bool:
        return self.applicant.kind in COUNTS_ONLY

    @property
    def allowance(self) -> Allowance | None:
        return self.admission.allowance if self.admission else None

    def answer(self, reply: messages.Reply) -> None:
        if self.appending:
            self._early_reply = reply
        elif not self.reply.done():
            self.reply.set_result(reply)

    def refuse(self, refusal: Exception) -> None:
        if not self.reply.done():
            self.reply.set_exception(refusal)

    def abandon(self) -> None:
        """End the wait for a result that nobody needs any more."""
        if not self.reply.cancel() and not self.reply.cancelled():
            self.reply.exception()  # otherwise asyncio logs an exception that was never retrieved

    def end_append(self, admission: Admission | None) -> None:
        """Record the admission, or None if it will not arrive, and use a reply that came early."""
        self.appending = False
        self.admission = admission
        if self._early_reply is not None:
            self.answer(self._early_reply)


class Appender:
    """Appends commands in the order of arrival, and calls `on_admission` with each result."""

    def __init__(
        self, script: AdmissionScript, on_admission: Callable[[WaitingCommand, Admission], None]
    ) -> None:
        self.script = script
        # Read once, because every order needs these and each access to the settings costs time.
        self._orders_max = settings.GATEWAY_PENDING_MAX
        self._others_max = settings.GATEWAY_PENDING_CANCELS_MAX
        self.on_admission = on_admission
        self._pending: list[WaitingCommand] = []
        self._orders_pending = 0
        self._appending: asyncio.Task[None] | None = None
        self._outage = Outage(logger, "Redis: orders and cancels can't be appended")

    def is_full(self, is_order: bool) -> bool:
        """Return whether no more orders, or no more of all other commands, may wait."""
        if is_order:
            return self._orders_pending >= self._orders_max
        return len(self._pending) - self._orders_pending >= self._others_max

    def put(self, waiting: WaitingCommand) -> None:
        self._pending.append(waiting)
        self._orders_pending += waiting.is_order
        if self._appending is None:
            self._appending = asyncio.create_task(self._append_pending())

    async def aclose(self) -> None:
        if self._appending is not None:
            self._appending.cancel()
            await asyncio.gather(self._appending, return_exceptions=True)
        await self.script.disconnect()

    async def disconnect(self) -> None:
        """Close the connection, which may be broken. The next append makes a new one."""
        await self.script.disconnect()

    async def _append_pending(self) -> None:
        try:
            while self._pending:
                size = settings.GATEWAY_BATCH_COMMANDS_MAX
                while size < len(self._pending) and self._pending[size].follows:
                    size += 1  # at most REQUEST_ORDERS_MAX commands follow each other
                batch = self._pending[:size]
                del self._pending[: len(batch)]
                self._orders_pending -= sum([waiting.is_order for waiting in batch])
                await self.append(batch)
        finally:
            self._appending = None

    async def append(self, batch: list[WaitingCommand]) -> None:
        """Append commands in one round trip, and record the result of each."""
        try:
            await self.script.connect()
        except (RedisError, OSError) as error:
            # Nothing was sent, so the commands can be refused. After a send, only a reply tells the
            # result.
            self._outage.failed(error)
            for waiting in batch:
                waiting.refuse(Unavailable("Redis is not answering. The request was not processed."))
            return
        # Commands that timed out until now were refused as not processed, so they must not be sent.
        # The remaining commands may be appended from now on.
        batch = [waiting for waiting in batch if not waiting.reply.done()]
        if not batch:
            return
        for waiting in batch:
            waiting.sent = waiting.appending = True
        try:
            admissions = await self.script.admit([waiting.applicant for waiting in batch])
        except (RedisError, OSError) as error:
            self._outage.failed(error)
            for waiting in batch:
                waiting.end_append(None)
            return
        self._outage.ended()
        for waiting, admission in zip(batch, admissions, strict=True):
            waiting.end_append(admission)
            self.on_admission(waiting, admission)
