"""A matching worker and a gateway on one event loop, with the tests' PostgreSQL and Redis."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

import msgspec
from django.db import connection
from redis.asyncio import Redis

from base.redis import connect_redis
from matching.recovery import load_books
from matching.worker.worker import MatchingWorker
from orders.gateway import OrderGateway, current_gateway
from orders.messages import BookState, Command, Reply, ReplyKind, encode, heartbeat_key, stream_key
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


def limit_waits(gateway: OrderGateway, seconds: float) -> None:
    """Let the gateway's next commands wait `seconds` for their replies. None may be waiting now.

    A test makes the gateway's connections before, because that also counts towards the limit.
    """
    assert not gateway._waiting
    gateway._reply_timeout_seconds = seconds
    if gateway._timer is not None:  # It would end at an earlier command's limit.
        gateway._timer.cancel()
        gateway._timer = None


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


def stored_books() -> dict[str, BookState]:
    """Return the states of the database's books, which the worker's states must equal."""
    return {
        symbol: BookState(market.book.sequence, market.book.state_hash())
        for symbol, market in load_books(0).items()
    }


SLOW_ORDERS = """
CREATE FUNCTION sleep() RETURNS trigger LANGUAGE plpgsql AS
  'BEGIN PERFORM pg_cancel_backend(pg_backend_pid()), pg_sleep(30); RETURN NEW; END';
CREATE TRIGGER slow BEFORE INSERT ON orders_order FOR EACH ROW WHEN (NEW.client_id = 'slow')
  EXECUTE FUNCTION sleep();
"""


@contextmanager
def slow_orders() -> Iterator[None]:
    """Have PostgreSQL cancel the statements that insert orders of the client `slow`.

    It does the same with statements that take longer than its limit. On a slow machine, a limit
    would end others, too.
    """
    with connection.cursor() as cursor:
        cursor.execute(SLOW_ORDERS)
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP FUNCTION sleep CASCADE")
