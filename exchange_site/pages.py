"""Django's own pages: the admin and the documentation. Each takes a thread, so few run at a time.

There are three rooms, and none can take another's threads:
- One is for operators, whose requests have a ticket.
- One is for logins, behind `exchange_site.entrance`.
- One is for the documentation and for the scripts and styles of all pages.

A request has its place in a room only while Django works on it. Its form is read before, and the
answer is sent afterwards, so a slow client does not keep a thread busy.
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
DOCUMENT_PATHS = ("/docs/schema", "/docs/stream")  # Not pages: the API answers them from memory.
_ADMIN_PATH = "/admin"

_Message = Mapping[str, Any]
Application = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]


def is_of_admin(path: str) -> bool:
    """Return whether the path belongs to the admin."""
    return path == _ADMIN_PATH or path.startswith(f"{_ADMIN_PATH}/")


class Pages:
    """Serves one ASGI application for each room.

    A page has PAGE_SECONDS_MAX, including the wait for a place. Without `operators` and `logins`,
    `application` serves their rooms, too.
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
        self._page_limit = ConcurrencyLimit(settings.PAGES_AT_ONCE_MAX, settings.PAGES_WAITING_MAX)
        self._operator_page_limit = ConcurrencyLimit(
            settings.OPERATOR_PAGES_AT_ONCE_MAX, settings.OPERATOR_PAGES_WAITING_MAX
        )
        self._by_ticket: Counter[str] = Counter()  # Operators' pages that are running or waiting.
        self._entrance = Entrance(
            functools.partial(_run_application, known), functools.partial(_run_application, unknown)
        )
        self._refusals = DelayedRefusals()

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        answer = await self._make_answer(scope, receive)
        if isinstance(answer, HttpResponse):
            if isinstance(answer, ErrorResponse):
                answer["Connection"] = "close"
            await send_response(answer, send)
            return
        for message in answer:
            await send(message)

    async def _make_answer(self, scope: dict[str, Any], receive: Receive) -> list[_Message] | HttpResponse:
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
                return await self._serve_within_limit(ticket, is_stranger, scope, body)
        except TimeoutError:
            return page_too_slow()

    async def _serve_within_limit(
        self, ticket: str | None, is_stranger: bool, scope: dict[str, Any], body: bytes
    ) -> list[_Message] | HttpResponse:
        if is_stranger:
            return await self._entrance.answer(scope, body)
        if ticket is not None:
            return await self._serve_operator(ticket, scope, body)
        if self._page_limit.is_full:
            return await self._refusals.refuse(too_busy)
        return await self._page_limit.answer(
            functools.partial(_run_application, self._application, scope, body)
        )

    async def _serve_operator(
        self, ticket: str, scope: dict[str, Any], body: bytes
    ) -> list[_Message] | HttpResponse:
        """Limit the pages of each ticket, so that a stolen one can't take all places."""
        if (
            self._operator_page_limit.is_full
            or self._by_ticket[ticket] >= settings.OPERATOR_PAGES_PER_TICKET_MAX
        ):
            return await self._refusals.refuse(too_busy)
        self._by_ticket[ticket] += 1
        try:
            return await self._operator_page_limit.answer(
                functools.partial(_run_application, self._operators, scope, body)
            )
        finally:
            self._by_ticket[ticket] -= 1
            if not self._by_ticket[ticket]:
                del self._by_ticket[ticket]


async def _run_application(application: Application, scope: dict[str, Any], body: bytes) -> list[_Message]:
    """Pass the request to the application, and return its answer as two messages.

    The application receives no message after the request, not even that the client has gone.
    """
    form = iter([{"type": "http.request", "body": body, "more_body": False}])
    sent: list[_Message] = []

    async def receive() -> _Message:
        return next(form, None) or await asyncio.get_running_loop().create_future()

    async def send(message: _Message) -> None:
        sent.append(message)

    await application(scope, receive, send)
    begin, *parts = sent
    # The body is one message. So the server can limit unread bytes, and HTTP/1.0 needs no chunks.
    whole = b"".join(part.get("body", b"") for part in parts)
    return [_with_length(begin, len(whole)), {"type": "http.response.body", "body": whole}]


def _with_length(begin: _Message, length: int) -> _Message:
    """Return the first message of an answer with a Content-Length, if it may have one."""
    headers = begin.get("headers", [])
    if begin["status"] in (204, 304) or any(name.lower() == b"content-length" for name, _ in headers):
        return begin
    return {**begin, "headers": [*headers, (b"content-length", str(length).encode())]}


def django_pages() -> Pages:
    """Return the pages with a set of threads for each room."""
    return Pages(
        PageThreads(settings.PAGES_AT_ONCE_MAX),
        operators=PageThreads(settings.OPERATOR_PAGES_AT_ONCE_MAX),
        logins=(PageThreads(1), PageThreads(1)),
    )
