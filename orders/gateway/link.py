"""Makes a gateway's connections to Redis."""

from collections.abc import Awaitable, Callable

from base.redis import connect_redis
from orders import messages
from orders.gateway.admission import AdmissionScript
from orders.gateway.replies import ReplyListener


class RedisLink:
    """Makes the connections of one gateway. Simulation tests replace it."""

    def __init__(self) -> None:
        self._redis = connect_redis()

    def admission(self, partition: int) -> AdmissionScript:
        """Return the admission script for a partition's stream, with its own connection."""
        return AdmissionScript(self._redis, partition)

    def replies(
        self,
        process_id: str,
        on_reply: Callable[[messages.Reply], None],
        on_lost: Callable[[], Awaitable[None]],
    ) -> ReplyListener:
        """Return a listener for the replies to one API process."""
        return ReplyListener(messages.reply_channel(process_id), on_reply, on_lost)

    async def aclose(self) -> None:
        await self._redis.aclose()
