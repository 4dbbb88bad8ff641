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
    """Reads what a server says once redis-py has connected to it, with all that a URL can ask for."""

    def __init__(self) -> None:
        self.transport: asyncio.WriteTransport | None = None
        self._reader = hiredis.Reader(replyError=ResponseError, notEnoughData=_INCOMPLETE)

    async def connect(self, connection: Any, *, deadline: float) -> None:
        """Until the event loop's time is `deadline`. Raises redis.RedisError, OSError."""
        try:
            async with asyncio.timeout_at(deadline):
                await connection.disconnect(nowait=True)
                await connection.connect()
            transport = connection._writer.transport
        except AttributeError as error:
            # redis-py's own, where the connection was dropped between two steps of its connecting.
            raise RedisConnectionError("cut off while it connected") from error
        _still_wanted()
        self.transport = transport
        transport.set_protocol(self)

    def drop(self) -> None:
        """Nothing is expected of this connection any more."""
        self.connection_lost(None)

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


def _still_wanted() -> None:
    """Raises CancelledError where redis-py has swallowed one: on Python 3.11 a wait that ends just then does so."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


class _Answers(_Protocol):
    """Gathers what a server answers to one packet of commands."""

    def __init__(self) -> None:
        super().__init__()
        self._gathered: list[Any] = []
        self._count = 0
        self._waiter: asyncio.Future[list[Any]] | None = None

    async def of(self, packed: bytes, count: int, *, deadline: float) -> list[Any]:
        """Raises redis.ResponseError, redis.ConnectionError, TimeoutError."""
        if self.transport is None:
            raise RedisConnectionError("the connection is closed")
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[list[Any]] = loop.create_future()
        self._gathered, self._count, self._waiter = [], count, waiter
        self.transport.write(packed)
        timer = loop.call_at(deadline, self.failed, TimeoutError())
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
        """Raises redis.RedisError, OSError where the server cannot be reached within REDIS_TIMEOUT_SECONDS."""
        await self._connect(_deadline())

    async def run(self, *commands: Command) -> list[Any]:
        """The answers, in order, within REDIS_TIMEOUT_SECONDS, on a new connection where there is none.

        Raises redis.RedisError, OSError, also where one of the answers is an error; what was done is unknown then,
        and the connection, which may have more to say, is not used again.
        """
        if not commands:
            return []
        packed = b"".join(map(hiredis.pack_command, commands))
        deadline = _deadline()
        try:
            if not self.is_connected:
                await self._connect(deadline)
            return await self._answers.of(packed, len(commands), deadline=deadline)
        except BaseException as error:
            await self.disconnect()
            if isinstance(error, TimeoutError) and not isinstance(error, RedisError):
                raise RedisTimeoutError(f"no answer within {settings.REDIS_TIMEOUT_SECONDS} s") from None
            raise

    async def disconnect(self) -> None:
        self._answers.drop()
        await self._connection.disconnect(nowait=True)

    async def _connect(self, deadline: float) -> None:
        self._answers = _Answers()
        await self._answers.connect(self._connection, deadline=deadline)


class _Messages(_Protocol):
    """Tells what is published from what a server answers."""

    def __init__(self, on_message: Callable[[bytes], None]) -> None:
        super().__init__()
        self.subscribed = asyncio.Event()  # or refused
        self.ended = asyncio.Event()
        self.error: Exception | None = None
        self.heard_at = 0.0  # of the event loop's clock
        self._on_message = on_message

    def say(self, *command: Any) -> None:
        if self.transport is not None:
            self.transport.write(hiredis.pack_command(command))

    def data_received(self, data: bytes) -> None:
        self.heard_at = asyncio.get_running_loop().time()
        super().data_received(data)

    def answered(self, answer: Any) -> None:
        if not isinstance(answer, list):
            return  # to a ping
        if answer[0] == b"message":
            self._on_message(answer[2])
        elif answer[0] == b"subscribe":
            self.subscribed.set()

    def failed(self, error: Exception) -> None:
        self.error = error
        self.subscribed.set()
        self.ended.set()


class RedisChannel:
    """Hears one channel, on a connection of its own: `on_message` is called with what is published.

    redis-py's subscription makes a task for each message's timeout, and waits in a task for the next one.
    """

    def __init__(self, redis: Redis, name: str, on_message: Callable[[bytes], None]) -> None:
        self._connection = redis.connection_pool.make_connection()  # type: ignore[no-untyped-call]
        self._name = name
        self._messages = _Messages(on_message)

    async def __aenter__(self) -> Self:
        """Returns when messages will arrive. Raises redis.RedisError, OSError."""
        messages, deadline = self._messages, _deadline()
        try:
            await messages.connect(self._connection, deadline=deadline)
            messages.say("SUBSCRIBE", self._name)
            async with asyncio.timeout_at(deadline):
                await messages.subscribed.wait()
            if messages.error is not None:
                raise messages.error
        except BaseException:
            await self._connection.disconnect(nowait=True)
            raise
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._connection.disconnect(nowait=True)

    async def until_lost(self) -> None:
        """Raises redis.RedisError where the server is gone, or has not answered to a ping."""
        messages = self._messages
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(settings.REDIS_PING_SECONDS):
                    await messages.ended.wait()
            if messages.error is not None:
                raise messages.error
            silent = asyncio.get_running_loop().time() - messages.heard_at
            if silent > settings.REDIS_TIMEOUT_SECONDS + settings.REDIS_PING_SECONDS:
                raise RedisTimeoutError("no answer to a ping")
            if silent >= settings.REDIS_PING_SECONDS:
                messages.say("PING")


def _deadline() -> float:
    return asyncio.get_running_loop().time() + settings.REDIS_TIMEOUT_SECONDS
