"""A gateway's connections to Redis, cut off at any moment."""

import asyncio
import contextlib

from redis.exceptions import RedisError

from orders.gateway.link import RedisLink

TURNS = 8  # of the event loop: more than an append takes to be sent


def test_an_append_that_is_cut_off_at_any_step_is_an_outage_of_redis() -> None:
    """Otherwise the task that appends would end with it, and what waits behind it would stay where it is."""

    async def append(turns: int) -> None:
        link = RedisLink()
        script = link.admission(0)
        try:
            await script.connect()
            appending = asyncio.create_task(script.admit([(None, b"")]))
            for _ in range(turns):
                await asyncio.sleep(0)
            await script.disconnect()
            await appending
        finally:
            await script.disconnect()
            await link.aclose()

    for turns in range(1, TURNS):
        with contextlib.suppress(RedisError):
            asyncio.run(append(turns))
