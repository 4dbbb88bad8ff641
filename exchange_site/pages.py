"""Django's own pages, the admin and the docs: each takes a thread, so that there is room for a few at a time.

Without bounds whoever asks for many of them keeps orders from being answered, and takes all connections of the
database: their sessions are read from it. A place is for Django's work alone: forms are read before it is taken,
and answers sent after it was left, however slow the client is.
"""

import asyncio
import functools
from collections.abc import Mapping
from typing import Any

from django.conf import settings

from exchange_site.errors import (
    ErrorResponse,
    incomplete_request,
    page_too_slow,
    payload_too_large,
    request_timeout,
    too_busy,
)
from exchange_site.handler import (
    BodyTooLarge,
    BodyTooSlow,
    Incomplete,
    Receive,
    Send,
    read_body,
    send_response,
)
from exchange_site.room import Refusals, Room

PAGE_PREFIXES = ("/admin", "/docs", "/static/")
DOCUMENT_PATH = "/docs/schema"  # is no page: the API answers it from memory

Message = Mapping[str, Any]


class Pages:
    """Serves an ASGI application in PAGES_AT_ONCE_MAX places; a page has PAGE_SECONDS_MAX with the wait for one."""

    def __init__(self, application: Any) -> None:
        self._application = application
        self._room = Room(settings.PAGES_AT_ONCE_MAX, settings.PAGES_WAITING_MAX)
        self._refusals = Refusals()

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        answer = await self._answer(scope, receive)
        if isinstance(answer, ErrorResponse):
            answer["Connection"] = "close"
            await send_response(answer, send)
            return
        for message in answer:
            await send(message)

    async def _answer(self, scope: dict[str, Any], receive: Receive) -> list[Message] | ErrorResponse:
        try:
            body = await read_body(scope, receive, settings.PAGE_FORM_BYTES_MAX)
        except Incomplete:
            return incomplete_request()
        except BodyTooSlow:
            return request_timeout()
        except BodyTooLarge:
            return payload_too_large(settings.PAGE_FORM_BYTES_MAX)
        if self._room.is_full:
            return await self._refusals.refuse(too_busy)
        try:
            async with asyncio.timeout(settings.PAGE_SECONDS_MAX):
                return await self._room.answer(functools.partial(self._page, scope, body))
        except TimeoutError:
            return page_too_slow()

    async def _page(self, scope: dict[str, Any], body: bytes) -> list[Message]:
        """What the application says; it hears no more than the request."""
        form = iter([{"type": "http.request", "body": body, "more_body": False}])
        said: list[Message] = []

        async def receive() -> Message:
            return next(form, None) or await asyncio.get_running_loop().create_future()

        async def send(message: Message) -> None:
            said.append(message)

        await self._application(scope, receive, send)
        begin, *parts = said
        # Whole, so that what a client does not read is the server's to count, and HTTP/1.0 gets no chunks.
        whole = b"".join(part.get("body", b"") for part in parts)
        return [_with_length(begin, len(whole)), {"type": "http.response.body", "body": whole}]


def _with_length(begin: Message, length: int) -> Message:
    """The beginning of an answer, which says how long its body is."""
    headers = begin.get("headers", [])
    if begin["status"] in (204, 304) or any(name.lower() == b"content-length" for name, _ in headers):
        return begin
    return {**begin, "headers": [*headers, (b"content-length", str(length).encode())]}
