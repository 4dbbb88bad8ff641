"""Tells everyone what was committed: the mirror, then the waiting requests, then the stream."""

import logging
from collections.abc import Iterable
from typing import NamedTuple

from channels_redis.pubsub import RedisPubSubChannelLayer
from django.conf import settings
from redis.asyncio import Redis

from base.redis import Command, RedisSession
from marketdata.messages import BATCH_MESSAGE_TYPE, MarketBatch, encode_batch, group_name
from matching.batch import Batch
from matching.command_stream import CommandStream, Entry, entries_of
from matching.documents import heartbeat_batch
from matching.mirror import MirrorWriter
from matching.recovery import MarketBook
from matching.scripts import read_script
from orders import messages
from orders.messages import Reply

logger = logging.getLogger(__name__)

HEARTBEAT = read_script("heartbeat")


class Outcome(NamedTuple):
    """A committed batch and what it says to the world."""

    batch: Batch
    replies: dict[str, list[Reply]]  # by API process
    news: list[MarketBatch]


class Publisher:
    """Every method raises redis.RedisError; what is lost then, clients find out by themselves.

    Those that write mirrors raise LeaseLost where a later worker has done so.
    """

    def __init__(
        self,
        redis: Redis,
        session: RedisSession,
        stream: CommandStream,
        layer: RedisPubSubChannelLayer,
        *,
        partition: int,
        owner: str,
    ) -> None:
        self._redis = redis
        self._session = session
        self._stream = stream
        self._partition = partition
        self._owner = owner
        self._mirror = MirrorWriter(redis)
        self._layer = layer
        self._heartbeat = redis.register_script(HEARTBEAT)
        self.is_mirror_lost = False  # a heartbeat brings it back

    async def prepare(self, books: Iterable[MarketBook], epoch: int) -> None:
        """Write all mirrors anew: after a start, and whenever Redis was away. `epoch` is the lease's."""
        self._mirror.epoch = epoch
        await self._mirror.load_script()
        for market in books:
            await self._mirror.rebuild(market)

    async def publish(self, outcome: Outcome, *, done: str, read_max: int) -> list[Entry]:
        """Tell of a committed batch, which ends at the stream's entry `done`; returns up to `read_max` newer ones.

        The mirror moves before the replies leave, so a client that is answered finds the effects in it. All of it
        is one round trip. If a mirror could not be moved, `is_mirror_lost` says that a heartbeat is due.
        """
        changes = outcome.batch.book_changes
        answers = await self._session.run(
            *(self._mirror.move_command(change) for change in changes),
            *(
                ("PUBLISH", messages.reply_channel(process_id), messages.encode(some))
                for process_id, some in outcome.replies.items()
            ),
            *(self._news_command(message) for message in outcome.news),
            self._stream.trim_command(done),
            self._stream.read_command(done, count=read_max),
        )
        for change, moved in zip(changes, answers, strict=False):
            if not moved and not self._mirror.is_given_up(change.instrument.symbol):
                self.is_mirror_lost = True
        return entries_of(answers[-1])

    async def heartbeat(self, books: Iterable[MarketBook]) -> None:
        """Say that this partition is matched, and at which sequence each book is."""
        await self._heartbeat(
            keys=[messages.heartbeat_key(self._partition)],
            args=[self._owner, int(settings.WORKER_HEARTBEAT_EXPIRY_SECONDS * 1000)],
        )
        self.is_mirror_lost = False
        for market in books:
            symbol = market.instrument.symbol
            if not self._mirror.is_given_up(symbol) and not await self._mirror.is_current(market):
                logger.warning("the mirror of %s was lost; rebuilding it", symbol)
                await self._mirror.rebuild(market)
            await self._session.run(self._news_command(heartbeat_batch(market)))

    async def end_heartbeat(self) -> None:
        """Nobody is matching any more: order entry is refused at once."""
        key = messages.heartbeat_key(self._partition)
        if await self._redis.get(key) == self._owner.encode():
            await self._redis.delete(key)

    async def aclose(self) -> None:
        """Close the connections to Redis, the stream's included."""
        await self._session.disconnect()
        await self._stream.aclose()
        await self._redis.aclose()

    def _news_command(self, message: MarketBatch) -> Command:
        """What `group_send` of the channel layer does, which takes a round trip for each message."""
        group = self._layer._get_group_channel_name(group_name(message.instrument))
        text = self._layer.serialize({"type": BATCH_MESSAGE_TYPE, "data": encode_batch(message)})
        return ("PUBLISH", group, text)
