"""What a feed must have is asked for until it comes."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from django.conf import settings

from rest.exceptions import Unavailable

logger = logging.getLogger(__name__)

Result = TypeVar("Result")


async def attempt_until_done(attempt: Callable[[], Awaitable[Result | None]], what: str) -> Result:
    """What `attempt` returns once that is not None; logs what it raises first.

    Waits in between, from FEED_RETRY_SECONDS_MIN on twice as long each time up to FEED_RETRY_SECONDS_MAX.
    """
    pause = settings.FEED_RETRY_SECONDS_MIN
    has_failed = False
    while True:
        try:
            if (result := await attempt()) is not None:
                return result
        except Unavailable as error:
            if not has_failed:
                logger.warning("%s: can't be read yet: %s", what, error.detail)
            has_failed = True
        except Exception:
            if not has_failed:
                logger.exception("%s: can't be read", what)
            has_failed = True
        await asyncio.sleep(pause)
        pause = min(2 * pause, settings.FEED_RETRY_SECONDS_MAX)
