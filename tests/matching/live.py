"""A matching worker and a gateway on one event loop, with the tests' PostgreSQL and Redis."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import msgspec
from redis.asyncio import Redis

from base.redis import connect_redis
from matching.worker.worker import MatchingWorker
from orders.gateway import OrderGateway, current_gateway
from orders.messages import Command, Reply, ReplyKind, encode, heartbeat_key, stream_key
from tests.patience import PATIENCE_SECONDS

Result = TypeVar("Result")
AnyCommand = TypeVar("AnyCommand", bound=Command)

START_SECONDS_MAX = PATIENCE_SECONDS
POLL_SECONDS = 0.01


@asynccontextmanager
async def live_worker(partition: int = 0) -> AsyncIterator[OrderGateway]:
    """Yield this loop's gateway once the worker matches. At the end, stop the worker gracefully."""
    worker = MatchingWorker.connect(partition)
    running = asyncio.create_task(worker.run())
    try:
        async with connect_redis() as redis, asyncio.timeout(START_SECONDS_MAX):
            while not await redis.exists(heartbeat_key(partition)):
                if running.done():
                    running.result()
                await asyncio.sleep(POLL_SECONDS)
        yield current_gateway()
    finally:
        worker.stop()
        await running


def run_scenario(scenario: Coroutine[Any, Any, Result]) -> Result:
    """Run the scenario on a new event loop, and close the gateway that it used."""

    async def run() -> Result:
        try:
            return await scenario
        finally:
            await current_gateway().aclose()

    return asyncio.run(run())


async def submit(*commands: Command) -> list[Reply]:
    """Return the replies in the order of the commands.

    The commands reach the stream together and in this order.
    """
    gateway = current_gateway()
    answers = await asyncio.gather(
        *(gateway.submit(command, partition=0, client_id=None) for command in commands)
    )
    return [answer.reply for answer in answers]


async def append(redis: Redis, *entries: dict[bytes, bytes]) -> None:
    """Append entries to the stream without any check."""
    for entry in entries:
        await redis.xadd(stream_key(0), entry)  # type: ignore[arg-type]


def command_fields(command: Command) -> dict[bytes, bytes]:
    return {b"c": encode(command)}


def document(reply: Reply) -> dict[str, Any]:
    assert reply.kind is ReplyKind.PLACED, reply
    decoded: dict[str, Any] = msgspec.json.decode(reply.body)
    return decoded


def with_reply_to(gateway_id: str, command: AnyCommand, **changes: Any) -> AnyCommand:
    """Return the command with these changes, whose reply goes to this gateway."""
    return msgspec.structs.replace(command, reply_to=gateway_id, **changes)
