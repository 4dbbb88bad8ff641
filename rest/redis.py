"""Connections to Redis. None repeats a command by itself: a repeated append would be a second order."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Self

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


class _Protocol(asyncio.Protocol):
    """Reads what a server says once redis-py has connected to it, with all that an URL can ask for."""

    def __init__(self) -> None:
        self.transport: asyncio.WriteTransport | None = None
        self._reader = hiredis.Reader(replyError=ResponseError, notEnoughData=_INCOMPLETE)

    async def connect(self, connection: Any) -> None:
        """Raises redis.RedisError, OSError where the server cannot be reached."""
        async with asyncio.timeout(settings.REDIS_TIMEOUT_SECONDS):
            await connection.disconnect(nowait=True)
            await connection.connect()
        self.transport = connection._writer.transport
        self.transport.set_protocol(self)

    def data_received(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
            while (answer := self._reader.gets()) is not _INCOMPLETE:
                if isinstance(answer, ResponseError):
                    self.failed(answer)
                else:
                    self.answered(answer)
        except hiredis.ProtocolError as error:
            self.failed(RedisConnectionError(f"not understood: {error}"))

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = None
        self.failed(RedisConnectionError(f"the connection was lost: {error or 'closed'}"))

    def answered(self, answer: Any) -> None:
        """One answer, or something that the server says by itself."""
        raise NotImplementedError

    def failed(self, error: Exception) -> None:
        """There will be no answer, or none that is right."""
        raise NotImplementedError


class RedisSession:
    """A connection of its own for what runs with each batch of orders: commands go out together, in one packet.

    redis-py's client takes several times as long: it fetches a connection from a pool, packs each argument by
    itself, and makes a task for its timeout. One `run` at a time.
    """

    def __init__(self, redis: Redis) -> None:
        self._connection = redis.connection_pool.make_connection()  # type: ignore[no-untyped-call]
        self._answers = _Answers()

    @property
    def is_connected(self) -> bool:
        return self._answers.transport is not None

    async def connect(self) -> None:
        """Raises redis.RedisError, OSError where the server cannot be reached."""
        self._answers = _Answers()
        await self._answers.connect(self._connection)

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


class _Answers(_Protocol):
    """Gathers what a server answers to one packet of commands."""

    def __init__(self) -> None:
        super().__init__()
        self._gathered: list[Any] = []
        self._count = 0
        self._waiter: asyncio.Future[list[Any]] | None = None

    async def of(self, packed: bytes, count: int) -> list[Any]:
        """Raises redis.ResponseError, redis.ConnectionError, TimeoutError."""
        if self.transport is None:
            raise RedisConnectionError("the connection is closed")
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[list[Any]] = loop.create_future()
        self._gathered, self._count, self._waiter = [], count, waiter
        self.transport.write(packed)
        timer = loop.call_later(settings.REDIS_TIMEOUT_SECONDS, self.failed, TimeoutError())
        try:
            return await waiter
        finally:
            timer.cancel()
            self._waiter = None

    def answered(self, answer: Any) -> None:
        if isinstance(answer, hiredis.PushNotification):
            return
        self._gathered.append(answer)
        if len(self._gathered) == self._count and self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(self._gathered)

    def failed(self, error: Exception) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)


class RedisChannel(_Protocol):
    """Hears one channel, on a connection of its own: `on_message` is called with what is published.

    redis-py's subscription makes a task for each message's timeout, and waits in a task for the next one.
    """

    def __init__(self, redis: Redis, name: str, on_message: Callable[[bytes], None]) -> None:
        super().__init__()
        self._connection = redis.connection_pool.make_connection()  # type: ignore[no-untyped-call]
        self._name = name
        self._on_message = on_message
        self._heard_at = 0.0
        self._subscribed = asyncio.Event()
        self._ended = asyncio.Event()
        self._error: Exception | None = None

    async def __aenter__(self) -> Self:
        """Returns when messages will arrive. Raises redis.RedisError, OSError."""
        try:
            await self.connect(self._connection)
            self._say("SUBSCRIBE", self._name)
            async with asyncio.timeout(settings.REDIS_TIMEOUT_SECONDS):
                await self._subscribed.wait()
            if self._error is not None:
                raise self._error
        except BaseException:
            await self._connection.disconnect(nowait=True)
            raise
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._connection.disconnect(nowait=True)

    async def until_lost(self) -> None:
        """Raises redis.RedisError where the server is gone, or has not answered to a ping."""
        loop = asyncio.get_running_loop()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(settings.REDIS_PING_SECONDS):
                    await self._ended.wait()
            if self._error is not None:
                raise self._error
            silent = loop.time() - self._heard_at
            if silent > settings.REDIS_TIMEOUT_SECONDS + settings.REDIS_PING_SECONDS:
                raise RedisTimeoutError("no answer to a ping")
            if silent >= settings.REDIS_PING_SECONDS:
                self._say("PING")

    def data_received(self, data: bytes) -> None:
        self._heard_at = asyncio.get_running_loop().time()
        super().data_received(data)

    def answered(self, answer: Any) -> None:
        if not isinstance(answer, list):
            return  # to a ping
        if answer[0] == b"message":
            self._on_message(answer[2])
        elif answer[0] == b"subscribe":
            self._subscribed.set()

    def failed(self, error: Exception) -> None:
        self._error = error
        self._subscribed.set()
        self._ended.set()

    def _say(self, *command: Any) -> None:
        if self.transport is not None:
            self.transport.write(hiredis.pack_command(command))
