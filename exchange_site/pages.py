"""Django's own pages, the admin and the docs: each takes a thread, so that there is room for a few at a time.

Without bounds whoever asks for many of them keeps orders from being answered, and takes all connections of the
database: their sessions are read from it.
"""

import asyncio
import functools
from collections.abc import Mapping
from typing import Any

from django.conf import settings

from exchange_site.errors import too_busy
from exchange_site.handler import Receive, Send, send_response
from exchange_site.room import Refusals, Room

PAGE_PREFIXES = ("/admin", "/docs", "/static/")


class Pages:
    """Serves an ASGI application in PAGES_AT_ONCE_MAX places, each for PAGE_SECONDS_MAX at most."""

    def __init__(self, application: Any) -> None:
        self._application = application
        self._room = Room(settings.PAGES_AT_ONCE_MAX, settings.PAGES_WAITING_MAX)
        self._refusals = Refusals()

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if self._room.is_full:
            await send_response(await self._refusals.refuse(too_busy), send)
            return
        await self._room.answer(functools.partial(self._serve, scope, receive, send))

    async def _serve(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        begun = False

        async def send_on(message: Mapping[str, Any]) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            async with asyncio.timeout(settings.PAGE_SECONDS_MAX):
                await self._application(scope, receive, send_on)
        except TimeoutError:
            if not begun:  # else the server cuts the connection
                await send_response(too_busy(), send)
