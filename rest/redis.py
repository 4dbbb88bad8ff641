"""Connections to Redis. None repeats a command by itself: a repeated append would be a second order."""

import asyncio
from typing import Any

import hiredis
from django.conf import settings
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

Command = tuple[Any, ...]

_INCOMPLETE = object()


def connect_redis() -> Redis:
    """A client of REDIS_URL for the running event loop, with REDIS_CONNECTIONS_MAX at most.

    Calls raise RedisError after REDIS_TIMEOUT_SECONDS, and at once where no connection is free.
    """
    return Redis.from_url(
        settings.REDIS_URL,
        max_connections=settings.REDIS_CONNECTIONS_MAX,
        socket_timeout=settings.REDIS_TIMEOUT_SECONDS,
        socket_connect_timeout=settings.REDIS_TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )


class RedisSession:
    """A connection of its own for what runs with each batch of orders: commands go out together, in one packet.

    A client takes several times as long: it fetches a connection from a pool, packs each argument by itself, and
    makes a task for its timeout. redis-py connects, with all that an URL can ask for; from there on this reads and
    writes by itself. One `run` at a time.
    """

    def __init__(self, redis: Redis) -> None:
        self._connection = redis.connection_pool.make_connection()  # type: ignore[no-untyped-call]
        self._answers = _Answers()

    @property
    def is_connected(self) -> bool:
        return self._answers.transport is not None

    async def connect(self) -> None:
        """Raises redis.RedisError, OSError where the server cannot be reached."""
        async with asyncio.timeout(settings.REDIS_TIMEOUT_SECONDS):
            await self._connection.disconnect(nowait=True)
            await self._connection.connect()
        self._answers = _Answers()
        self._answers.take_over(self._connection._writer.transport)

    async def run(self, *commands: Command) -> list[Any]:
        """The answers, in order, on a new connection where there is none.

        Raises redis.RedisError, OSError, also where one of the answers is an error; what was done is unknown then,
        and the connection, which may have more to say, is not used again.
        """
        packed = b"".join(map(hiredis.pack_command, commands))
        try:
            if not self.is_connected:
                await self.connect()
            return await self._answers.of(packed, len(commands))
        except BaseException as error:
            await self.disconnect()
            if isinstance(error, TimeoutError) and not isinstance(error, RedisError):
                raise RedisTimeoutError(f"no answer within {settings.REDIS_TIMEOUT_SECONDS} s") from None
            raise

    async def disconnect(self) -> None:
        self._answers.connection_lost(None)
        await self._connection.disconnect(nowait=True)


class _Answers(asyncio.Protocol):
    """Gathers what a server answers to one packet of commands."""

    def __init__(self) -> None:
        self.transport: asyncio.WriteTransport | None = None
        self._reader = hiredis.Reader(replyError=ResponseError, notEnoughData=_INCOMPLETE)
        self._gathered: list[Any] = []
        self._count = 0
        self._waiter: asyncio.Future[list[Any]] | None = None

    def take_over(self, transport: asyncio.WriteTransport) -> None:
        """From the protocol that it was made with, which has heard all that was said so far."""
        self.transport = transport
        transport.set_protocol(self)

    async def of(self, packed: bytes, count: int) -> list[Any]:
        """Raises redis.ResponseError, redis.ConnectionError, TimeoutError."""
        if self.transport is None:
            raise RedisConnectionError("the connection is closed")
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[list[Any]] = loop.create_future()
        self._gathered, self._count, self._waiter = [], count, waiter
        self.transport.write(packed)
        timer = loop.call_later(settings.REDIS_TIMEOUT_SECONDS, self._fail, TimeoutError())
        try:
            return await waiter
        finally:
            timer.cancel()
            self._waiter = None

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        try:
            while (answer := self._reader.gets()) is not _INCOMPLETE:
                if isinstance(answer, ResponseError):
                    self._fail(answer)
                elif not isinstance(answer, hiredis.PushNotification):
                    self._gathered.append(answer)
        except hiredis.ProtocolError as error:
            self._fail(RedisConnectionError(f"not understood: {error}"))
        if self._waiter is not None and not self._waiter.done() and len(self._gathered) >= self._count:
            self._waiter.set_result(self._gathered)

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = None
        self._fail(RedisConnectionError(f"the connection was lost: {error or 'closed'}"))

    def _fail(self, error: Exception) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)
