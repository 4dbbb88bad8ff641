"""RedisSession and RedisChannel, the connections that read by themselves, on a real server."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from django.conf import settings as django_settings
from pytest_django.fixtures import Settings
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from base.redis import RedisChannel, RedisSession
from tests.patience import PATIENCE_SECONDS
from tests.redis_relay import RedisRelay

SECONDS_MAX = PATIENCE_SECONDS
STEPS = 60  # turns of the event loop: more than a connect takes
CHANNEL = "tests:channel"


@pytest.fixture(autouse=True)
def _wait_long_for_answers(settings: Settings) -> None:
    settings.REDIS_TIMEOUT_SECONDS = PATIENCE_SECONDS


def connect(url: str | None = None, *, protocol: int = 3) -> Redis:
    return Redis.from_url(url or django_settings.REDIS_URL, protocol=protocol)


def with_session(use: Callable[[RedisSession, Redis], Awaitable[None]], *, protocol: int = 3) -> None:
    """Run `use` with a session and another client."""

    async def scenario() -> None:
        async with connect(protocol=protocol) as client, asyncio.timeout(SECONDS_MAX):
            session = RedisSession(client)
            try:
                await use(session, client)
            finally:
                await session.disconnect()

    asyncio.run(scenario())


@pytest.mark.parametrize("protocol", [2, 3])
def test_answers_come_in_the_order_of_the_commands(protocol: int) -> None:
    async def use(session: RedisSession, client: Redis) -> None:
        large = b"x" * 1_000_000  # arrives in many pieces
        answers = await session.run(
            ("SET", "a", large), ("GET", "a"), ("GET", "none"), ("INCR", "n"), ("DEL", "a", "n")
        )
        assert answers == [b"OK", large, None, 1, 2]
        assert await session.run(("ECHO", "next")) == [b"next"]

    with_session(use, protocol=protocol)


def test_an_error_is_raised_and_later_commands_get_their_own_answers() -> None:
    async def use(session: RedisSession, client: Redis) -> None:
        with pytest.raises(ResponseError, match="unknown command"):
            await session.run(("ECHO", "first"), ("NONSENSE",), ("ECHO", "behind it"))
        assert await session.run(("ECHO", "next")) == [b"next"]

    with_session(use)


def test_a_cancelled_wait_leaves_no_answer_behind() -> None:
    async def use(session: RedisSession, client: Redis) -> None:
        waiting = asyncio.create_task(session.run(("BLPOP", "tests:list", 0)))
        while not await blocked_clients(client):  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert await session.run(("ECHO", "next")) == [b"next"]

    with_session(use)


def test_a_session_connects_again_after_the_server_ended_its_connection() -> None:
    async def use(session: RedisSession, client: Redis) -> None:
        (number,) = await session.run(("CLIENT", "ID"))
        waiting = asyncio.create_task(session.run(("BLPOP", "tests:list", 0)))
        while not await blocked_clients(client):  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0)
        await client.client_kill_filter(_id=number)
        with pytest.raises(RedisConnectionError):
            await waiting
        assert not session.is_connected
        assert await session.run(("ECHO", "next")) == [b"next"]

    with_session(use)


async def blocked_clients(client: Redis) -> int:
    return int((await client.info("clients"))["blocked_clients"])


def test_a_session_disconnects_from_a_silent_server(settings: Settings) -> None:
    async def scenario() -> None:
        relay = RedisRelay()
        async with relay.open(), connect(relay.url) as client, asyncio.timeout(SECONDS_MAX):
            session = RedisSession(client)
            assert await session.run(("ECHO", "heard")) == [b"heard"]
            relay.cut()
            settings.REDIS_TIMEOUT_SECONDS = 0.2
            with pytest.raises(RedisTimeoutError, match=r"no answer within 0\.2 s"):
                await session.run(("ECHO", "lost"))
            assert not session.is_connected

    asyncio.run(scenario())


def test_a_connection_that_is_dropped_at_any_step_raises_a_known_error(settings: Settings) -> None:
    """Also while it connects. redis-py's internal errors must not reach the caller."""

    async def use(session: RedisSession, client: Redis) -> None:
        errors = 0
        for turns in range(STEPS):
            settings.REDIS_TIMEOUT_SECONDS = 0.3
            running = asyncio.create_task(session.run(("ECHO", "heard")))
            for _ in range(turns):
                await asyncio.sleep(0)
            await session.disconnect()
            try:
                assert await running == [b"heard"]
            except (RedisError, OSError):
                errors += 1
            settings.REDIS_TIMEOUT_SECONDS = PATIENCE_SECONDS
            assert await session.run(("ECHO", "not dropped")) == [b"not dropped"]
            await session.disconnect()
        assert errors > 0

    with_session(use)


def test_a_cancel_at_any_step_ends_the_connection() -> None:
    async def use(session: RedisSession, client: Redis) -> None:
        for turns in range(STEPS):
            running = asyncio.create_task(session.run(("ECHO", "heard"), ("BLPOP", "tests:list", 0)))
            for _ in range(turns):
                await asyncio.sleep(0)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            assert not session.is_connected

    with_session(use)


def test_a_missing_server_raises_a_known_error() -> None:
    async def scenario() -> None:
        async with connect(RedisRelay().url) as client:
            with pytest.raises((RedisError, OSError)):
                await RedisSession(client).run(("PING",))
            with pytest.raises((RedisError, OSError)):
                async with RedisChannel(client, CHANNEL, lambda data: None):
                    pass

    asyncio.run(scenario())


@pytest.mark.parametrize("protocol", [2, 3])
def test_a_channel_receives_messages_until_the_server_ends_it(protocol: int) -> None:
    async def scenario() -> None:
        received: asyncio.Queue[bytes] = asyncio.Queue()
        async with (
            asyncio.timeout(SECONDS_MAX),
            connect(protocol=protocol) as client,
            RedisChannel(client, CHANNEL, received.put_nowait) as channel,
        ):
            await client.publish(CHANNEL, b"one")
            await client.publish(CHANNEL, b"two")
            assert [await received.get(), await received.get()] == [b"one", b"two"]
            await client.client_kill_filter(_type="pubsub")
            with pytest.raises(RedisConnectionError):
                await channel.until_lost()

    asyncio.run(scenario())


def test_a_channel_ends_only_when_pings_are_not_answered(
    settings: Settings,
) -> None:
    settings.REDIS_TIMEOUT_SECONDS = 2.0  # longer than a ping and its answer take in any case
    settings.REDIS_PING_SECONDS = 0.1

    async def scenario() -> None:
        relay = RedisRelay()
        async with (
            asyncio.timeout(SECONDS_MAX),
            relay.open(),
            connect(relay.url) as client,
            RedisChannel(client, CHANNEL, lambda data: None) as channel,
        ):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(3.0):  # without answers it would end in this time
                    await channel.until_lost()
            relay.cut()
            settings.REDIS_TIMEOUT_SECONDS = 0.2
            with pytest.raises(RedisTimeoutError, match="no answer to a ping"):
                await channel.until_lost()

    asyncio.run(scenario())
