"""Repeats reads that a feed depends on until they succeed."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from django.conf import settings

from base.loops import per_event_loop
from base.outages import Outage
from base.refusals import Unavailable

logger = logging.getLogger(__name__)

Result = TypeVar("Result")


@per_event_loop
def _outage() -> Outage:
    """Return the outage that all feeds of a process share, because they read the same servers."""
    return Outage(logger, "market data can't be read")


async def attempt_until_done(attempt: Callable[[], Awaitable[Result | None]], name: str) -> Result:
    """Call `attempt` until its result is not None; returns that result.

    `name` is the data's name in the log, which gets the first error and the end of an outage. The
    pause between attempts starts at FEED_RETRY_SECONDS_MIN and doubles up to
    FEED_RETRY_SECONDS_MAX.
    """
    pause = settings.FEED_RETRY_SECONDS_MIN
    outage = _outage()
    try:
        while True:
            try:
                result = await attempt()
                outage.ended(name)
                if result is not None:
                    return result
            except Unavailable as error:
                outage.failed(f"{name}: {error.message}", name=name)
            except Exception as error:
                outage.failed(error, name=name, traceback=True)
            await asyncio.sleep(pause)
            pause = min(2 * pause, settings.FEED_RETRY_SECONDS_MAX)
    finally:
        outage.give_up(name)
