"""Appends one partition's commands to its stream, as many as wait in one round trip.

While one round trip runs, the next commands gather, so batches grow with load and no timer is needed. One
round trip at a time keeps the order of arrival.
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
    """A command on its way: appended or not yet, not replied to. If it only counts, its admission is the reply.

    `deadline` is the event loop's time at which nobody waits for the reply any more. Admission and reply come on
    two connections: a reply that is here first waits for the admission, which tells what the rate limit leaves.
    """

    __slots__ = (
        "_early_reply",
        "admission",
        "appending",
        "applicant",
        "deadline",
        "is_order",
        "reply",
        "sent",
    )

    def __init__(self, applicant: Applicant, reply: asyncio.Future[messages.Reply], deadline: float) -> None:
        self.applicant = applicant
        self.is_order = applicant.kind in AS_ORDERS  # by its places
        self.reply = reply
        self.deadline = deadline
        self.sent = False  # whether it may have been appended
        self.appending = False  # whether its admission is still to come
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

    def end_append(self, admission: Admission | None) -> None:
        """The admission is here, or there will be none."""
        self.appending = False
        self.admission = admission
        if self._early_reply is not None:
            self.answer(self._early_reply)


class Appender:
    """`on_admission` is told what became of each command that the script has seen."""

    def __init__(
        self, script: AdmissionScript, on_admission: Callable[[WaitingCommand, Admission], None]
    ) -> None:
        self._script = script
        # Looked up once: they are asked for each order.
        self._orders_max = settings.GATEWAY_PENDING_MAX
        self._others_max = settings.GATEWAY_PENDING_CANCELS_MAX
        self._on_admission = on_admission
        self._pending: list[WaitingCommand] = []
        self._orders_pending = 0
        self._appending: asyncio.Task[None] | None = None
        self._outage = Outage(logger, "Redis: orders and cancels can't be appended")

    def is_full(self, is_order: bool) -> bool:
        """Whether no more can wait: orders, and all other commands, have places of their own."""
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
        await self._script.disconnect()

    async def disconnect(self) -> None:
        """The connection is dead, or may be: the next append makes a new one."""
        await self._script.disconnect()

    async def _append_pending(self) -> None:
        try:
            while self._pending:
                batch = self._pending[: settings.GATEWAY_BATCH_COMMANDS_MAX]
                del self._pending[: len(batch)]
                self._orders_pending -= sum([waiting.is_order for waiting in batch])
                await self._append(batch)
        finally:
            self._appending = None

    async def _append(self, batch: list[WaitingCommand]) -> None:
        try:
            await self._script.connect()
        except (RedisError, OSError) as error:
            # Nothing was sent yet; once it was, only the reply tells.
            self._outage.failed(error)
            for waiting in batch:
                waiting.refuse(Unavailable("Redis is not answering; the request was not taken."))
            return
        # Nobody waits any more for those that timed out up to here, and they were told that they were not taken:
        # from now on they may be.
        batch = [waiting for waiting in batch if not waiting.reply.done()]
        if not batch:
            return
        for waiting in batch:
            waiting.sent = waiting.appending = True
        try:
            admissions = await self._script.admit([waiting.applicant for waiting in batch])
        except (RedisError, OSError) as error:
            self._outage.failed(error)
            for waiting in batch:
                waiting.end_append(None)
            return
        self._outage.ended()
        for waiting, admission in zip(batch, admissions, strict=True):
            waiting.end_append(admission)
            self._on_admission(waiting, admission)
