"""A gateway's connections to Redis break at any moment, or one is faster than the other.

A request may also end before its replies arrive.
"""

import asyncio
import contextlib
import gc
from collections.abc import Callable, Sequence
from typing import Any

from redis.exceptions import RedisError

from base.redis import connect_redis
from orders import messages
from orders.gateway import OrderGateway
from orders.gateway.admission import OTHER, Admission, AdmissionScript, Applicant
from orders.gateway.appender import Appender, WaitingCommand
from orders.gateway.gateway import GatewayReply, Submission
from orders.gateway.link import RedisLink
from tests.patience import PATIENCE_SECONDS

TURNS = 8  # of the event loop; sending an append takes fewer of them
PARTITION = 9
UNMATCHED_PARTITION = 10  # no worker has sent a heartbeat for it
HEARTBEAT_SECONDS = 60
SECONDS_MAX = PATIENCE_SECONDS
COMMAND = messages.ReloadInstruments(request_id="request", reply_to="somebody")
REPLY = messages.Reply("request", messages.ReplyKind.DONE)


def test_an_append_that_is_cut_off_at_any_step_raises_a_redis_error() -> None:
    """Another error would end the task that appends, and waiting commands would never be sent."""

    async def append(turns: int) -> None:
        link = RedisLink()
        script = link.admission(0)
        try:
            await script.connect()
            appending = asyncio.create_task(script.admit([Applicant(OTHER, None, b"")]))
            for _ in range(turns):
                await asyncio.sleep(0)
            await script.disconnect()
            await appending
        finally:
            await script.disconnect()
            await link.aclose()

    for turns in range(1, TURNS):
        with contextlib.suppress(RedisError):
            asyncio.run(append(turns))


class LateAdmission(AdmissionScript):
    """An admission that holds back its answer, or its error, until it is released."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.admitted, self.released = asyncio.Event(), asyncio.Event()
        self.error: Exception | None = None

    async def admit(self, applicants: Sequence[Applicant]) -> list[Admission]:
        answers = await super().admit(applicants)
        self.admitted.set()
        await self.released.wait()
        if self.error is not None:
            raise self.error
        return answers


class LateLink(RedisLink):
    def __init__(self) -> None:
        super().__init__()
        self.script = LateAdmission(self._redis, PARTITION)
        self.replied = asyncio.Event()

    def admission(self, partition: int) -> AdmissionScript:
        return self.script

    def replies(self, process_id: str, on_reply: Callable[[messages.Reply], None], *more: Any) -> Any:
        def hear(reply: messages.Reply) -> None:
            on_reply(reply)
            self.replied.set()

        return super().replies(process_id, hear, *more)


def end_waits(gateway: OrderGateway) -> None:
    """Do what the gateway does once the time for its commands' replies is over."""
    for waiting in gateway._waiting.values():
        waiting.deadline = 0.0
    gateway._expire_commands()


async def submit_and_reply_first(error: Exception | None, *, release: bool = True) -> GatewayReply:
    """Submit a command whose reply arrives before its admission, and return the answer."""
    link = LateLink()
    link.script.error = error
    async with asyncio.timeout(SECONDS_MAX), connect_redis() as redis, OrderGateway(link) as gateway:
        stream = messages.stream_key(PARTITION)
        await redis.delete(stream)
        await redis.set(messages.heartbeat_key(PARTITION), b"somebody", ex=HEARTBEAT_SECONDS)
        await gateway.ready()
        submitting = asyncio.create_task(gateway.submit(COMMAND, partition=PARTITION, client_id="client"))
        await link.script.admitted.wait()
        heard = await redis.publish(messages.reply_channel(gateway.process_id), messages.encode([REPLY]))
        assert heard == 1
        await link.replied.wait()
        if release:
            for _ in range(TURNS):
                await asyncio.sleep(0)
            assert not submitting.done()  # it waits for the answer of the admission
            link.script.released.set()
        else:
            end_waits(gateway)
        return await submitting


def test_a_reply_that_arrives_before_the_admission_has_the_allowance(settings: Any) -> None:
    settings.RATE_LIMIT = (5, 60)
    answer = asyncio.run(submit_and_reply_first(None))
    assert answer.reply == REPLY
    assert answer.allowance is not None
    assert answer.allowance.limit == 50  # the limit of cancels, because the command is not an order


def test_a_reply_is_returned_if_the_admission_fails(settings: Any) -> None:
    settings.RATE_LIMIT = (5, 60)
    answer = asyncio.run(submit_and_reply_first(RedisError("cut off")))
    assert (answer.reply, answer.allowance) == (REPLY, None)


def test_a_reply_is_returned_if_the_admission_comes_too_late() -> None:
    assert asyncio.run(submit_and_reply_first(None, release=False)).reply == REPLY


class NotingAppender(Appender):
    """An appender that notes when it has appended or refused its first commands."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.appended = asyncio.Event()

    async def append(self, batch: list[WaitingCommand]) -> None:
        await super().append(batch)
        self.appended.set()


def test_a_request_that_ends_early_leaves_no_error_of_its_other_commands() -> None:
    """Otherwise asyncio logs a traceback for each of these errors."""
    appenders: list[NotingAppender] = []
    unhandled: list[dict[str, Any]] = []

    class KnownAppender(NotingAppender):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            appenders.append(self)

    async def scenario() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: unhandled.append(context))
        async with (
            asyncio.timeout(SECONDS_MAX),
            connect_redis() as redis,
            OrderGateway(RedisLink(), make_appender=KnownAppender) as gateway,
        ):
            await redis.delete(messages.stream_key(PARTITION), messages.heartbeat_key(UNMATCHED_PARTITION))
            await redis.set(messages.heartbeat_key(PARTITION), b"somebody", ex=HEARTBEAT_SECONDS)
            await gateway.ready()
            other = messages.ReloadInstruments(request_id="another request", reply_to="somebody")
            submissions = [
                Submission(COMMAND, PARTITION, "client"),
                Submission(other, UNMATCHED_PARTITION, "client"),
            ]
            submitting = asyncio.create_task(gateway.submit_many(submissions))
            while len(appenders) < len(submissions):  # noqa: ASYNC110 - no event tells of it
                await asyncio.sleep(0)
            for appender in appenders:
                await appender.appended.wait()
            submitting.cancel()  # it waits for the first reply, and the second command was refused
            with contextlib.suppress(asyncio.CancelledError):
                await submitting
        gc.collect()

    asyncio.run(scenario())
    assert unhandled == []
