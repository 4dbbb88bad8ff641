"""Publishes each committed batch to the mirror, then to waiting requests, then to the stream."""

import logging
from collections.abc import Iterable, Sequence
from typing import Any

from channels_redis.pubsub import RedisPubSubChannelLayer
from django.conf import settings
from redis.asyncio import Redis

from base.redis import Command, RedisSession
from marketdata.messages import BATCH_MESSAGE_TYPE, MarketBatch, encode_batch, group_name
from matching.batch.batch import Batch
from matching.batch.market_book import MarketBook
from matching.commit.statement import CommitResult
from matching.publish import documents
from matching.publish.mirror import MirrorWriter
from matching.scripts import read_script
from orders import messages

logger = logging.getLogger(__name__)

HEARTBEAT = read_script("heartbeat")


class Publisher:
    """Sends everything that a worker publishes through Redis.

    Every method raises redis.RedisError. API processes recover from lost messages by themselves:
    requests read the database, and feeds notice gaps in the sequence. Methods that write mirrors
    raise LeaseLost if a later worker has written them.
    """

    def __init__(
        self,
        redis: Redis,
        session: RedisSession,
        layer: RedisPubSubChannelLayer,
        *,
        partition: int,
        owner: str,
    ) -> None:
        self._redis = redis
        self._session = session
        self._partition = partition
        self._owner = owner
        self.mirror = MirrorWriter(redis)
        self._layer = layer
        self._heartbeat = redis.register_script(HEARTBEAT)
        self.is_mirror_lost = False  # True until the next heartbeat, which rebuilds the mirror

    async def prepare(self, books: Iterable[MarketBook], epoch: int) -> None:
        """Rebuild the mirrors of these books, after a start or an outage of Redis.

        `epoch` is the lease's epoch.
        """
        self.mirror.epoch = epoch
        await self.mirror.load_script()
        for market in books:
            await self.mirror.rebuild(market)

    async def publish(self, batch: Batch, result: CommitResult, *, then: Sequence[Command]) -> Sequence[Any]:
        """Publish a committed batch, and run the commands `then` in the same round trip.

        Returns the answers to `then`. The mirror moves before the replies leave, so a client that
        has its reply finds the effects in the mirror. If a mirror could not be moved,
        `is_mirror_lost` is set: the caller must send a heartbeat.
        """
        orders = documents.order_documents(batch)
        replies = documents.replies(batch, orders, result)
        market_batches = documents.market_batches(result, batch, orders)
        changes = batch.book_changes
        answers = await self._session.run(
            *(self.mirror.move_command(change) for change in changes),
            *(
                ("PUBLISH", messages.reply_channel(process_id), messages.encode(its_replies))
                for process_id, its_replies in replies.items()
            ),
            *(self._market_batch_command(message) for message in market_batches),
            *then,
        )
        for change, moved in zip(changes, answers, strict=False):
            if not moved and not self.mirror.is_given_up(change.instrument.symbol):
                self.is_mirror_lost = True
        return answers[len(answers) - len(then) :]

    async def heartbeat(self, books: Iterable[MarketBook]) -> None:
        """Send the worker heartbeat and the book heartbeats, and rebuild lost mirrors."""
        await self._heartbeat(
            keys=[messages.heartbeat_key(self._partition)],
            args=[self._owner, int(settings.WORKER_HEARTBEAT_EXPIRY_SECONDS * 1000)],
        )
        self.is_mirror_lost = False
        markets = list(books)
        for start in range(0, len(markets), settings.HEARTBEAT_BOOKS_PER_PACKET):
            some = markets[start : start + settings.HEARTBEAT_BOOKS_PER_PACKET]
            for market in await self.mirror.find_lost(some):
                logger.warning("the mirror of %s was lost; rebuilding it", market.instrument.symbol)
                await self.mirror.rebuild(market)
            await self._session.run(
                *(self._market_batch_command(documents.heartbeat_batch(market)) for market in some)
            )

    async def end_heartbeat(self) -> None:
        """Remove this worker's heartbeat, so that order entry is refused at once."""
        key = messages.heartbeat_key(self._partition)
        if await self._redis.get(key) == self._owner.encode():
            await self._redis.delete(key)

    async def aclose(self) -> None:
        """Close the connections to Redis."""
        await self._session.disconnect()
        await self._redis.aclose()

    def _market_batch_command(self, message: MarketBatch) -> Command:
        """Return the command that the channel layer's `group_send` would run.

        `group_send` itself is not used: it takes a round trip for each message.
        """
        group = self._layer._get_group_channel_name(group_name(message.instrument))
        text = self._layer.serialize({"type": BATCH_MESSAGE_TYPE, "data": encode_batch(message)})
        return ("PUBLISH", group, text)
