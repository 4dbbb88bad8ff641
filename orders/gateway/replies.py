"""Listens on this process's reply channel, and says at once where it is cut off."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable

import msgspec
from django.conf import settings
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from orders import messages
from rest.exceptions import Unavailable
from rest.redis import connect_redis

logger = logging.getLogger(__name__)

_RETRY_SECONDS = 0.2
_POLL_SECONDS = 1.0


class ReplyListener:
    """Hands every reply to `on_reply`. Replies sent while it is cut off are lost: their commands time out."""

    def __init__(
        self,
        channel: str,
        on_reply: Callable[[messages.Reply], None],
        on_lost: Callable[[], Awaitable[None]],
    ) -> None:
        self.connected = False  # whether replies arrive
        self._channel = channel
        self._on_reply = on_reply
        self._on_lost = on_lost
        self._task: asyncio.Task[None] | None = None
        self._attempted = asyncio.Event()  # set when the first attempt to subscribe has ended either way

    async def ready(self) -> None:
        """Returns when replies will arrive; raises Unavailable where Redis is not answering."""
        if self._task is None:
            self._task = asyncio.create_task(self._listen_forever(), name="order-replies")
        await self._attempted.wait()
        if not self.connected:
            raise Unavailable(
                "Redis is not answering; the request was not taken. Try again after Retry-After."
            )

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _listen_forever(self) -> None:
        while True:
            try:
                async with connect_redis() as redis, redis.pubsub() as subscription:
                    await self._listen(subscription)
            except (RedisError, OSError) as error:
                logger.warning("reply channel lost: %s", error)
            except Exception:
                logger.exception("reply channel lost")  # without it no order could be taken any more
            finally:
                self.connected = False
                self._attempted.set()
            with contextlib.suppress(RedisError, OSError):
                await self._on_lost()
            await asyncio.sleep(_RETRY_SECONDS)

    async def _listen(self, subscription: PubSub) -> None:
        await subscription.subscribe(self._channel)
        heard = time.monotonic()
        while True:
            message = await subscription.get_message(timeout=_POLL_SECONDS)
            if message is None:
                if time.monotonic() - heard > settings.REDIS_TIMEOUT_SECONDS + _POLL_SECONDS:
                    raise ConnectionError("no answer to a ping")
                await subscription.ping()
                continue
            heard = time.monotonic()
            if message["type"] == "subscribe":
                self.connected = True
                self._attempted.set()
            elif message["type"] == "message":
                self._deliver(message["data"])

    def _deliver(self, data: bytes) -> None:
        try:
            replies = messages.decode_replies(data)
        except msgspec.DecodeError:
            logger.exception("a message on the reply channel is not a list of replies; its commands time out")
            return
        for reply in replies:
            self._on_reply(reply)
