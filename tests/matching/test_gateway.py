"""A gateway's connections to Redis: cut off at any moment, and one of them faster than the other."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any

from redis.exceptions import RedisError

from base.redis import connect_redis
from orders import messages
from orders.gateway import OrderGateway
from orders.gateway.admission import OTHER, Admission, AdmissionScript, Applicant
from orders.gateway.gateway import GatewayReply
from orders.gateway.link import RedisLink
from tests.patience import PATIENCE_SECONDS

TURNS = 8  # of the event loop: more than an append takes to be sent
PARTITION = 9
HEARTBEAT_SECONDS = 60
SECONDS_MAX = PATIENCE_SECONDS
COMMAND = messages.ReloadInstruments(request_id="request", reply_to="somebody")
REPLY = messages.Reply("request", messages.ReplyKind.DONE)


def test_an_append_that_is_cut_off_at_any_step_is_an_outage_of_redis() -> None:
    """Otherwise the task that appends would end with it, and what waits behind it would stay where it is."""

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
    """Its answer comes, or fails to come, when it is let go."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.admitted, self.let_go = asyncio.Event(), asyncio.Event()
        self.error: Exception | None = None

    async def admit(self, applicants: Sequence[Applicant]) -> list[Admission]:
        answers = await super().admit(applicants)
        self.admitted.set()
        await self.let_go.wait()
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


async def submit_and_reply_first(error: Exception | None, *, let_go: bool = True) -> GatewayReply:
    """What a client's command gets whose reply is here before its admission."""
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
        if let_go:
            for _ in range(TURNS):
                await asyncio.sleep(0)
            assert not submitting.done()  # it waits for what the admission tells
            link.script.let_go.set()
        return await submitting


def test_a_reply_that_is_faster_than_the_admission_has_its_allowance(settings: Any) -> None:
    settings.RATE_LIMIT = (5, 60)
    answer = asyncio.run(submit_and_reply_first(None))
    assert answer.reply == REPLY
    assert answer.allowance is not None
    assert answer.allowance.limit == 50  # it is not an order


def test_a_reply_counts_where_the_admission_is_lost(settings: Any) -> None:
    settings.RATE_LIMIT = (5, 60)
    answer = asyncio.run(submit_and_reply_first(RedisError("cut off")))
    assert (answer.reply, answer.allowance) == (REPLY, None)


def test_a_reply_counts_where_the_admission_does_not_come_in_time(settings: Any) -> None:
    settings.ORDER_REPLY_TIMEOUT_SECONDS = 0.5
    assert asyncio.run(submit_and_reply_first(None, let_go=False)).reply == REPLY
