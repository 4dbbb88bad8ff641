"""Receives the replies to this process's commands, and reports a lost connection at once."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

import msgspec
from redis.exceptions import RedisError

from base.outages import Outage
from base.redis import RedisChannel, connect_redis
from base.refusals import Unavailable
from orders import messages

logger = logging.getLogger(__name__)

_RETRY_SECONDS = 0.2


class ReplyListener:
    """Calls `on_reply` with every reply, and `on_lost` after the connection was lost.

    Replies that are sent while there is no connection are lost, and their commands time out.
    """

    def __init__(
        self,
        channel: str,
        on_reply: Callable[[messages.Reply], None],
        on_lost: Callable[[], Awaitable[None]],
    ) -> None:
        self.connected = False  # whether replies can arrive
        self._channel = channel
        self._on_reply = on_reply
        self._on_lost = on_lost
        self._task: asyncio.Task[None] | None = None
        self._outage = Outage(logger, "Redis: replies can't be received")
        self._attempted = asyncio.Event()  # set after the first attempt to subscribe

    async def ready(self) -> None:
        """Wait until replies can arrive. Raises Unavailable if Redis is not answering."""
        if self._task is None:
            self._task = asyncio.create_task(self._listen_forever(), name="order-replies")
        await self._attempted.wait()
        if not self.connected:
            raise Unavailable(
                "Redis is not answering. The request was not processed. Try again after Retry-After."
            )

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _listen_forever(self) -> None:
        while True:
            try:
                async with (
                    connect_redis() as redis,
                    RedisChannel(redis, self._channel, self._deliver) as channel,
                ):
                    self.connected = True
                    self._outage.ended()
                    self._attempted.set()
                    await channel.until_lost()
            except (RedisError, OSError) as error:
                self._outage.failed(error)
            except Exception as error:  # go on: without this channel, no order could be processed
                self._outage.failed(error, traceback=True)
            finally:
                self.connected = False
                self._attempted.set()
            with contextlib.suppress(RedisError, OSError):
                await self._on_lost()
            await asyncio.sleep(_RETRY_SECONDS)

    def _deliver(self, data: bytes) -> None:
        try:
            replies = messages.decode_replies(data)
        except msgspec.DecodeError:
            logger.exception(
                "a message on the reply channel is not a valid list of replies: its commands will time out"
            )
            return
        for reply in replies:
            self._on_reply(reply)
