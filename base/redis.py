"""Connections to Redis.

No connection repeats a command by itself, because a repeated append would place a second order.
"""

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
    """Return a client of REDIS_URL for the running event loop.

    It makes at most REDIS_CONNECTIONS_MAX connections. Calls raise RedisError after
    REDIS_TIMEOUT_SECONDS, or at once if no connection is free.
    """
    return Redis.from_url(
        settings.REDIS_URL,
        max_connections=settings.REDIS_CONNECTIONS_MAX,
        socket_timeout=settings.REDIS_TIMEOUT_SECONDS,
        socket_connect_timeout=settings.REDIS_TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )


class _RedisProtocol(asyncio.Protocol):
    """Reads a server's replies. redis-py makes the connection, so every form of REDIS_URL works."""

    def __init__(self) -> None:
        self.transport: asyncio.WriteTransport | None = None
        self._reader = hiredis.Reader(replyError=ResponseError, notEnoughData=_INCOMPLETE)

    async def connect(self, connection: Any, *, deadline: float) -> None:
        """Connect to the server and take over its connection.

        `deadline` is a time of the event loop's clock. Raises redis.RedisError, OSError.
        """
        try:
            async with asyncio.timeout_at(deadline):
                await connection.disconnect(nowait=True)
                await connection.connect()
            transport = connection._writer.transport
        except AttributeError as error:
            # redis-py raises this if the connection is lost between two steps of connecting.
            raise RedisConnectionError("the connection was lost while it was being made") from error
        _raise_if_cancelled()
        self.transport = transport
        transport.set_protocol(self)

    def drop(self) -> None:
        """Stop using the connection, and fail the replies that are still expected."""
        self.connection_lost(None)

    def data_received(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not _INCOMPLETE:
                if isinstance(reply, ResponseError):
                    self.failed(reply)
                else:
                    self.reply_received(reply)
        except hiredis.ProtocolError as error:
            self.failed(RedisConnectionError(f"invalid data from the server: {error}"))

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = None
        self.failed(RedisConnectionError(f"the connection was lost: {error or 'closed'}"))

    def reply_received(self, reply: Any) -> None:
        """Called with each reply, and with each message that the server sends by itself."""
        raise NotImplementedError

    def failed(self, error: Exception) -> None:
        """Called with an error reply, or when no further replies will arrive."""
        raise NotImplementedError


def _raise_if_cancelled() -> None:
    """Raises CancelledError if redis-py has lost a cancellation of this task.

    On Python 3.11, a cancellation is lost if the wait inside redis-py ends at the same moment.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


class _ReplyCollector(_RedisProtocol):
    """Sends one packet of commands at a time and collects the replies."""

    def __init__(self) -> None:
        super().__init__()
        self._replies: list[Any] = []
        self._count = 0
        self._waiter: asyncio.Future[list[Any]] | None = None

    async def send(self, packed: bytes, count: int, *, deadline: float) -> list[Any]:
        """Send `count` packed commands and return their replies.

        `deadline` is a time of the event loop's clock.

        Raises redis.ResponseError, redis.ConnectionError, TimeoutError.
        """
        if self.transport is None:
            raise RedisConnectionError("the connection is closed")
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[list[Any]] = loop.create_future()
        self._replies, self._count, self._waiter = [], count, waiter
        self.transport.write(packed)
        timer = loop.call_at(deadline, self.failed, TimeoutError())
        try:
            return await waiter
        finally:
            timer.cancel()
            self._waiter = None

    def reply_received(self, reply: Any) -> None:
        if isinstance(reply, hiredis.PushNotification):
            return
        self._replies.append(reply)
        if len(self._replies) == self._count and self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(self._replies)

    def failed(self, error: Exception) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)


class RedisSession:
    """A separate connection that sends several commands together, in one packet.

    It is for the commands of each batch of orders. redis-py's client takes several times as long:
    it takes a connection from a pool, packs each argument separately, and makes a task for its
    timeout. Only one `run` at a time is allowed.
    """

    def __init__(self, redis: Redis) -> None:
        self._connection = redis.connection_pool.make_connection()  # type: ignore[no-untyped-call]
        self._collector = _ReplyCollector()

    @property
    def is_connected(self) -> bool:
        return self._collector.transport is not None

    async def connect(self) -> None:
        """Connect to the server.

        Raises redis.RedisError or OSError if the server cannot be reached within
        REDIS_TIMEOUT_SECONDS.
        """
        await self._connect(_deadline())

    async def run(self, *commands: Command) -> list[Any]:
        """Return the replies to the commands, in order, within REDIS_TIMEOUT_SECONDS.

        Connects first if necessary.

        Raises redis.RedisError, OSError, also if one of the replies is an error. It is then unknown
        which commands took effect. The connection is closed, because more replies may follow.
        """
        if not commands:
            return []
        packed = b"".join(map(hiredis.pack_command, commands))
        deadline = _deadline()
        try:
            if not self.is_connected:
                await self._connect(deadline)
            return await self._collector.send(packed, len(commands), deadline=deadline)
        except BaseException as error:
            await self.disconnect()
            if isinstance(error, TimeoutError) and not isinstance(error, RedisError):
                raise RedisTimeoutError(f"no answer within {settings.REDIS_TIMEOUT_SECONDS} s") from None
            raise

    async def disconnect(self) -> None:
        self._collector.drop()
        await self._connection.disconnect(nowait=True)

    async def _connect(self, deadline: float) -> None:
        self._collector = _ReplyCollector()
        await self._collector.connect(self._connection, deadline=deadline)


class _ChannelMessages(_RedisProtocol):
    """Passes on a channel's messages, and handles the replies to SUBSCRIBE and PING itself."""

    def __init__(self, on_message: Callable[[bytes], None]) -> None:
        super().__init__()
        self.subscribed = asyncio.Event()  # also set if the connection fails
        self.ended = asyncio.Event()
        self.error: Exception | None = None
        self.heard_at = 0.0  # when data last arrived, by the event loop's clock
        self._on_message = on_message

    def send(self, *command: Any) -> None:
        if self.transport is not None:
            self.transport.write(hiredis.pack_command(command))

    def data_received(self, data: bytes) -> None:
        self.heard_at = asyncio.get_running_loop().time()
        super().data_received(data)

    def reply_received(self, reply: Any) -> None:
        if not isinstance(reply, list):
            return  # the reply to a ping
        if reply[0] == b"message":
            self._on_message(reply[2])
        elif reply[0] == b"subscribe":
            self.subscribed.set()

    def failed(self, error: Exception) -> None:
        self.error = error
        self.subscribed.set()
        self.ended.set()


class RedisChannel:
    """Subscribes to one channel on a separate connection, and calls `on_message` for each message.

    redis-py's subscription is slower: it makes a task for each message's timeout, and waits for the
    next message in another task.
    """

    def __init__(self, redis: Redis, name: str, on_message: Callable[[bytes], None]) -> None:
        self._connection = redis.connection_pool.make_connection()  # type: ignore[no-untyped-call]
        self._name = name
        self._messages = _ChannelMessages(on_message)

    async def __aenter__(self) -> Self:
        """Connect and subscribe. Raises redis.RedisError, OSError."""
        messages, deadline = self._messages, _deadline()
        try:
            await messages.connect(self._connection, deadline=deadline)
            messages.send("SUBSCRIBE", self._name)
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
        """Wait until the connection is lost or a ping is not answered.

        Raises redis.RedisError then.
        """
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
                messages.send("PING")


def _deadline() -> float:
    """Return the event loop's time in REDIS_TIMEOUT_SECONDS from now."""
    return asyncio.get_running_loop().time() + settings.REDIS_TIMEOUT_SECONDS
