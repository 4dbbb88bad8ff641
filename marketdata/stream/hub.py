"""One subscriber to the Channels groups a process, whatever the number of WebSocket clients.

The channel layer would decode every message once for each consumer and queue without bound; here each batch is
decoded once, and each client has its own bounded queue.
"""

import asyncio
import logging

from channels.layers import get_channel_layer
from redis.exceptions import RedisError

from marketdata.messages import decode_batch, group_name
from marketdata.stream.feed import Feed
from orders.instruments import TradedInstrument
from rest.exceptions import Unavailable
from rest.loops import per_event_loop

logger = logging.getLogger(__name__)

RECEIVE_RETRY_SECONDS = 0.1


class Hub:
    """All feeds of this process."""

    def __init__(self) -> None:
        self._feeds: dict[str, Feed] = {}
        self._layer = get_channel_layer()
        self._channel: str | None = None
        self._lock = asyncio.Lock()
        self._receiving: asyncio.Task[None] | None = None

    async def feed(self, instrument: TradedInstrument) -> Feed:
        """The instrument's feed, joined to its group. Raises Unavailable where Redis is not answering."""
        feed = self._feeds.get(instrument.symbol)
        if feed is None:
            async with self._lock:
                feed = self._feeds.get(instrument.symbol) or await self._join(instrument)
        return feed

    def existing_feed(self, symbol: str) -> Feed | None:
        return self._feeds.get(symbol)

    async def _join(self, instrument: TradedInstrument) -> Feed:
        try:
            if self._channel is None:
                self._channel = await self._layer.new_channel()
                self._receiving = asyncio.create_task(self._receive_forever(self._channel), name="hub")
            await self._layer.group_add(group_name(instrument.symbol), self._channel)
        except (RedisError, OSError) as error:
            raise Unavailable("Market data is not available. Try again in a moment.") from error
        feed = self._feeds[instrument.symbol] = Feed(instrument)
        return feed

    async def _receive_forever(self, channel: str) -> None:
        """One bad message must not end the stream of all clients."""
        while True:
            try:
                message = await self._layer.receive(channel)
                batch = decode_batch(message["data"])
                feed = self._feeds.get(batch.instrument)
                if feed is not None:  # there is none yet while the group is being joined
                    feed.on_batch(batch)
            except Exception:
                logger.exception("a message of market data is lost")
                await asyncio.sleep(RECEIVE_RETRY_SECONDS)


@per_event_loop
def current_hub() -> Hub:
    """The hub of the running event loop."""
    return Hub()
