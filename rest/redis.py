"""Connections to Redis. None repeats a command by itself: a repeated append would be a second order."""

import asyncio
from typing import Any

import hiredis
from django.conf import settings
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

Command = tuple[Any, ...]


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
    makes a task for its timeout. One `run` at a time.
    """

    def __init__(self, redis: Redis) -> None:
        self._connection = redis.connection_pool.make_connection()  # type: ignore[no-untyped-call]
        self._connection.socket_timeout = None  # `run` has one

    @property
    def is_connected(self) -> bool:
        return bool(self._connection.is_connected)

    async def connect(self) -> None:
        """Raises redis.RedisError, OSError where the server cannot be reached."""
        async with asyncio.timeout(settings.REDIS_TIMEOUT_SECONDS):
            await self._connection.connect()

    async def run(self, *commands: Command) -> list[Any]:
        """The answers, in order, on a new connection where there is none.

        Raises redis.RedisError, OSError, also where one of the answers is an error; what was done is unknown then,
        and the connection, which may have more to say, is not used again.
        """
        packed = b"".join(map(hiredis.pack_command, commands))
        try:
            async with asyncio.timeout(settings.REDIS_TIMEOUT_SECONDS):
                await self._connection.send_packed_command(packed, check_health=False)
                return [await self._connection.read_response() for _ in commands]
        except TimeoutError:
            await self.disconnect()
            raise RedisTimeoutError(f"no answer within {settings.REDIS_TIMEOUT_SECONDS} s") from None
        except AttributeError as error:
            # redis-py's own, where `disconnect` was called between two steps of its sending.
            raise RedisConnectionError("cut off while it was sent") from error
        except BaseException:
            await self.disconnect()
            raise

    async def disconnect(self) -> None:
        await self._connection.disconnect(nowait=True)
