"""Django's own pages, the admin and the docs: each takes a thread, so that there is room for a few at a time.

Three rooms, none of which can take another's threads: one for operators, told by their ticket; one for whoever
wants to log in, behind `exchange_site.entrance`; and one for the docs and the pages' scripts and styles. A place is
for Django's work alone: forms are read before it is taken, and answers sent after it was left, however slow the
client is.
"""

import asyncio
import functools
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from django.conf import settings
from django.http import HttpResponse

from exchange_site.entrance import Entrance
from exchange_site.page_threads import PageThreads
from operators.tickets import ticket_of
from web.concurrency import ConcurrencyLimit, DelayedRefusals
from web.errors import (
    ErrorResponse,
    incomplete_request,
    page_too_slow,
    payload_too_large,
    request_timeout,
    too_busy,
)
from web.handler import (
    BodyTooLarge,
    BodyTooSlow,
    Incomplete,
    Receive,
    Send,
    read_body,
    send_response,
)

PAGE_PREFIXES = ("/admin", "/docs", "/static/")
DOCUMENT_PATH = "/docs/schema"  # is no page: the API answers it from memory
ADMIN_PATH = "/admin"

Message = Mapping[str, Any]
Application = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]


def is_of_admin(path: str) -> bool:
    """Whether the admin answers it."""
    return path == ADMIN_PATH or path.startswith(f"{ADMIN_PATH}/")


class Pages:
    """Serves ASGI applications, one a room; a page has PAGE_SECONDS_MAX with the wait for a place.

    Without `operators` and `logins`, `application` serves them all.
    """

    def __init__(
        self,
        application: Application,
        *,
        operators: Application | None = None,
        logins: tuple[Application, Application] | None = None,
    ) -> None:
        self._application = application
        self._operators = operators or application
        known, unknown = logins or (application, application)
        self._room = ConcurrencyLimit(settings.PAGES_AT_ONCE_MAX, settings.PAGES_WAITING_MAX)
        self._operators_room = ConcurrencyLimit(
            settings.OPERATOR_PAGES_AT_ONCE_MAX, settings.OPERATOR_PAGES_WAITING_MAX
        )
        self._by_ticket: Counter[str] = Counter()  # of the operators' pages that are asked for now
        self._entrance = Entrance(functools.partial(_ask, known), functools.partial(_ask, unknown))
        self._refusals = DelayedRefusals()

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        answer = await self._answer(scope, receive)
        if isinstance(answer, HttpResponse):
            if isinstance(answer, ErrorResponse):
                answer["Connection"] = "close"
            await send_response(answer, send)
            return
        for message in answer:
            await send(message)

    async def _answer(self, scope: dict[str, Any], receive: Receive) -> list[Message] | HttpResponse:
        ticket = ticket_of(scope["headers"])
        is_stranger = ticket is None and is_of_admin(scope["path"])
        bytes_max = settings.LOGIN_FORM_BYTES_MAX if is_stranger else settings.PAGE_FORM_BYTES_MAX
        try:
            body = await read_body(scope, receive, bytes_max)
        except Incomplete:
            return incomplete_request()
        except BodyTooSlow:
            return request_timeout()
        except BodyTooLarge:
            return payload_too_large(bytes_max)
        try:
            async with asyncio.timeout(settings.PAGE_SECONDS_MAX):
                return await self._in_room(ticket, is_stranger, scope, body)
        except TimeoutError:
            return page_too_slow()

    async def _in_room(
        self, ticket: str | None, is_stranger: bool, scope: dict[str, Any], body: bytes
    ) -> list[Message] | HttpResponse:
        if is_stranger:
            return await self._entrance.answer(scope, body)
        if ticket is not None:
            return await self._for_operator(ticket, scope, body)
        if self._room.is_full:
            return await self._refusals.refuse(too_busy)
        return await self._room.answer(functools.partial(_ask, self._application, scope, body))

    async def _for_operator(
        self, ticket: str, scope: dict[str, Any], body: bytes
    ) -> list[Message] | HttpResponse:
        """A ticket that is out of hand, or stolen, leaves room for the others."""
        if self._operators_room.is_full or self._by_ticket[ticket] >= settings.OPERATOR_PAGES_PER_TICKET_MAX:
            return await self._refusals.refuse(too_busy)
        self._by_ticket[ticket] += 1
        try:
            return await self._operators_room.answer(functools.partial(_ask, self._operators, scope, body))
        finally:
            self._by_ticket[ticket] -= 1
            if not self._by_ticket[ticket]:
                del self._by_ticket[ticket]


async def _ask(application: Application, scope: dict[str, Any], body: bytes) -> list[Message]:
    """What the application says, as two messages; it hears no more than the request."""
    form = iter([{"type": "http.request", "body": body, "more_body": False}])
    said: list[Message] = []

    async def receive() -> Message:
        return next(form, None) or await asyncio.get_running_loop().create_future()

    async def send(message: Message) -> None:
        said.append(message)

    await application(scope, receive, send)
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


def django_pages() -> Pages:
    """The rooms with their threads."""
    return Pages(
        PageThreads(settings.PAGES_AT_ONCE_MAX),
        operators=PageThreads(settings.OPERATOR_PAGES_AT_ONCE_MAX),
        logins=(PageThreads(1), PageThreads(1)),
    )
