"""The hub and its one subscription, on a real Redis behind a connection that falls silent."""

import asyncio

import pytest
from channels_redis.pubsub import RedisPubSubChannelLayer
from django.conf import settings as django_settings
from pytest_django.fixtures import Settings

from marketdata.messages import BATCH_MESSAGE_TYPE, MarketBatch, encode_batch, group_name
from streaming.hub import Hub
from tests.patience import PATIENCE_SECONDS
from tests.road import SilentRoad
from tests.streaming.feeds import TRADES, Listener, instrument

SYMBOL = "HUB-USD"
PREFIX = "tests-of-the-hub"


@pytest.fixture
def road(settings: Settings) -> SilentRoad:
    road = SilentRoad()
    settings.CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": [road.url], "prefix": PREFIX},
        }
    }
    return road


async def publish_until_heard(publisher: RedisPubSubChannelLayer, client: Listener) -> None:
    """What a worker does that knows nothing of who listens."""
    batch = MarketBatch(
        instrument=SYMBOL, previous_sequence=0, sequence=0, trades=['{"type":"trade"}'], orders=[], levels=[]
    )
    message = {"type": BATCH_MESSAGE_TYPE, "data": encode_batch(batch)}
    async with asyncio.timeout(PATIENCE_SECONDS):
        while client.has_heard_all:
            await publisher.group_send(group_name(SYMBOL), message)
            await asyncio.sleep(0.05)


def test_a_subscription_that_fell_silent_is_made_anew(settings: Settings, road: SilentRoad) -> None:
    """A host of Redis that is gone without a word: no connection breaks, nothing comes."""
    settings.STREAM_STALE_SECONDS = 0.5

    async def scenario() -> None:
        publisher = RedisPubSubChannelLayer(hosts=[django_settings.REDIS_URL], prefix=PREFIX)
        client = Listener()
        async with road.open(), client.reading():
            hub = Hub()
            hub.connect(client.outbox)
            feed = await hub.feed(instrument(SYMBOL))
            await feed.follow(TRADES, client.outbox)
            await publish_until_heard(publisher, client)
            await client.expect("trade")
            road.cut()
            await client.receive_until("error")
            await publish_until_heard(publisher, client)
            await client.receive_until("resumed")

    asyncio.run(scenario())
