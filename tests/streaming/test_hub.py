"""The hub and its one subscription, on a real Redis behind a relay that can fall silent."""

import asyncio

import pytest
from channels_redis.pubsub import RedisPubSubChannelLayer
from django.conf import settings as django_settings
from pytest_django.fixtures import Settings

from marketdata.messages import BATCH_MESSAGE_TYPE, MarketBatch, encode_batch, group_name
from streaming.hub import Hub
from tests.patience import PATIENCE_SECONDS
from tests.redis_relay import RedisRelay
from tests.streaming.feeds import TRADES, Listener, instrument

SYMBOL = "HUB-USD"
PREFIX = "tests-of-the-hub"


@pytest.fixture
def relay(settings: Settings) -> RedisRelay:
    relay = RedisRelay()
    settings.CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": [relay.url], "prefix": PREFIX},
        }
    }
    return relay


async def publish_until_received(publisher: RedisPubSubChannelLayer, client: Listener, kind: str) -> None:
    """Publish as a worker does, which knows no subscribers, until the client has such a message."""
    batch = MarketBatch(
        instrument=SYMBOL, previous_sequence=0, sequence=0, trades=['{"type":"trade"}'], orders=[], levels=[]
    )
    message = {"type": BATCH_MESSAGE_TYPE, "data": encode_batch(batch)}
    receiving = asyncio.create_task(client.receive_until(kind))
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not receiving.done():
            await publisher.group_send(group_name(SYMBOL), message)
            await asyncio.wait({receiving}, timeout=0.05)
        await receiving


def test_the_hub_renews_a_subscription_that_fell_silent(settings: Settings, relay: RedisRelay) -> None:
    """This happens if the host of Redis disappears: connections stay open, but no data arrives."""

    async def scenario() -> None:
        publisher = RedisPubSubChannelLayer(hosts=[django_settings.REDIS_URL], prefix=PREFIX)
        client = Listener()
        async with relay.open(), client.reading():
            hub = Hub()
            hub.connect(client.outbox)
            feed = await hub.feed(instrument(SYMBOL))
            await feed.follow(TRADES, client.outbox)
            await publish_until_received(publisher, client, "trade")
            relay.cut()
            settings.STREAM_STALE_SECONDS = 0.5  # Not earlier: only the silence may make the feed stale.
            await client.receive_until("error")
            await publish_until_received(publisher, client, "resumed")

    asyncio.run(scenario())
