"""The hub: each process's one subscriber to the Channels groups, for all its WebSocket clients.

Without the hub, the channel layer would decode every message for each client, and queue messages
without limit. The hub decodes each batch once, and each client has its own bounded queue.

A batch may have thousands of trades. The hub processes it in steps, and lets the event loop serve
everything else between them. The layer's queue has no limit, so the hub does not pause while more
than FEED_WAITING_BATCHES_MAX batches wait in it. Meanwhile nothing else runs, so the layer does not
read more batches from Redis.

The layer reconnects by itself if Redis restarts. It does not notice if the host of Redis
disappears. So the hub subscribes again, on a new connection, if nothing arrived for
STREAM_STALE_SECONDS.
"""

import asyncio
import logging
import time

from channels.layers import get_channel_layer
from django.conf import settings
from redis.exceptions import RedisError

from base.loops import per_event_loop
from base.outages import Outage
from base.refusals import Unavailable
from instruments.directory import TradedInstrument
from marketdata.messages import decode_batch, group_name
from streaming import metrics
from streaming.feed import Feed
from streaming.outbox import Outbox
from streaming.unread import unread

logger = logging.getLogger(__name__)

_layer_outage = Outage(logger, "Redis: market data can't be received")


def _log_outage_once(record: logging.LogRecord) -> bool:
    """Filter the channel layer's log, which gets a stack trace each second during an outage."""
    error = record.exc_info[1] if record.exc_info else None
    if not isinstance(error, RedisError | OSError):
        return True
    _layer_outage.failed(error)
    return False


logging.getLogger("channels_redis.pubsub").addFilter(_log_outage_once)

RECEIVE_RETRY_SECONDS = 0.1
SUBSCRIBE_RETRY_SECONDS = 1.0
TICK_SECONDS = 0.5


class Hub:
    """All feeds of this process."""

    def __init__(self) -> None:
        self.outboxes: set[Outbox] = set()  # of all clients
        self.subscriptions = 0  # the number of all clients' subscriptions
        self._feeds: dict[str, Feed] = {}
        self._layer = get_channel_layer()
        self._lock = asyncio.Lock()
        self._channel: str | None = None  # a member of all feeds' groups
        self._receiving: asyncio.Task[None] | None = None
        self._watches: list[asyncio.Task[None]] = []
        self._heard_at = time.monotonic()
        self._receive_outage = Outage(logger, "Redis: a message of market data is lost")
        self._subscribe_outage = Outage(logger, "Redis: market data can't be subscribed to")

    def connect(self, outbox: Outbox) -> None:
        """Add a client, which gets heartbeats from now on."""
        self.outboxes.add(outbox)
        if not self._watches:
            watches = (self._tick_forever(), self._stay_subscribed())
            self._watches = [asyncio.create_task(watch, name="hub-watch") for watch in watches]

    def may_subscribe(self, own: int) -> bool:
        """Return whether a client that has `own` subscriptions may have another one.

        Once all clients together have STREAM_SUBSCRIPTIONS_OF_ALL_MAX, only clients with less than
        an equal share may have more.
        """
        all_max = settings.STREAM_SUBSCRIPTIONS_OF_ALL_MAX
        return self.subscriptions < all_max or own < all_max // max(1, len(self.outboxes))

    async def feed(self, instrument: TradedInstrument) -> Feed:
        """Return the instrument's feed, subscribed to the instrument's group.

        Raises Unavailable if Redis does not answer within STREAM_BOOK_SECONDS_MAX.
        """
        feed = self._feeds.get(instrument.symbol)
        if feed is None:
            try:
                async with asyncio.timeout(settings.STREAM_BOOK_SECONDS_MAX), self._lock:
                    feed = self._feeds.get(instrument.symbol) or await self._create_feed(instrument)
            except (RedisError, OSError) as error:  # the timeout's TimeoutError is an OSError
                raise Unavailable("Market data is not available. Try again in a moment.") from error
        return feed

    def existing_feed(self, symbol: str) -> Feed | None:
        return self._feeds.get(symbol)

    async def _create_feed(self, instrument: TradedInstrument) -> Feed:
        channel = self._channel or await self._resubscribe()
        await self._layer.group_add(group_name(instrument.symbol), channel)
        feed = self._feeds[instrument.symbol] = Feed(instrument)
        return feed

    async def _resubscribe(self) -> str:
        """Subscribe to the groups of all feeds on a new connection; returns the new channel."""
        self._channel = None
        await self._layer.flush()
        if self._receiving is not None:
            self._receiving.cancel()
            await asyncio.gather(self._receiving, return_exceptions=True)
        channel: str = await self._layer.new_channel()
        for symbol in self._feeds:
            await self._layer.group_add(group_name(symbol), channel)
        self._receiving = asyncio.create_task(self._receive_forever(channel), name="hub")
        self._heard_at = time.monotonic()
        self._channel = channel
        return channel

    async def _receive_forever(self, channel: str) -> None:
        """Pass batches on to the feeds. A bad message must not end the stream of all clients."""
        while True:
            try:
                message = await self._layer.receive(channel)
                self._heard_at = time.monotonic()
                batch = decode_batch(message["data"])
                feed = self._feeds.get(batch.instrument)
                if feed is not None:  # A group is joined before its feed is made.
                    for _ in feed.take(batch):
                        await self._yield_to_loop(channel)
                self._receive_outage.ended()
                _layer_outage.ended()
                await self._yield_to_loop(channel)
            except (RedisError, OSError) as error:
                self._receive_outage.failed(error)
                await asyncio.sleep(RECEIVE_RETRY_SECONDS)
            except Exception as error:
                self._receive_outage.failed(error, traceback=True)
                await asyncio.sleep(RECEIVE_RETRY_SECONDS)

    async def _yield_to_loop(self, channel: str) -> None:
        """Let the event loop serve everything else, unless too many batches wait."""
        queue = self._layer.channels.get(channel)
        if queue is None or queue.qsize() <= settings.FEED_WAITING_BATCHES_MAX:
            await asyncio.sleep(0)

    async def _tick_forever(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            metrics.unread_bytes.set(unread.bytes)
            parts: list[Feed | Outbox] = [*self._feeds.values(), *self.outboxes]
            for part in parts:
                try:
                    part.on_tick()
                except Exception:
                    logger.exception("the periodic work of a feed or of a client of the stream failed")

    async def _stay_subscribed(self) -> None:
        while True:
            await asyncio.sleep(SUBSCRIBE_RETRY_SECONDS)
            if not self._is_silent():
                continue
            try:
                async with self._lock:
                    await self._resubscribe()
                self._subscribe_outage.ended()
            except (RedisError, OSError) as error:
                self._subscribe_outage.failed(error)
            except Exception as error:
                self._subscribe_outage.failed(error, traceback=True)

    def _is_silent(self) -> bool:
        """Return whether nothing arrived for so long that the subscription may be broken."""
        return bool(self._feeds) and time.monotonic() - self._heard_at > settings.STREAM_STALE_SECONDS


@per_event_loop
def current_hub() -> Hub:
    """Return the hub of the running event loop."""
    return Hub()
