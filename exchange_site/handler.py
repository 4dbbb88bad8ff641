"""Django's ASGI handler without what the JSON API does not need.

Django's own runs every request in a ThreadSensitiveContext and watches for a disconnect in a task of its own:
two threads and two tasks a request. The API's views never leave the event loop's thread, and an order that was
sent is matched whether its client still listens or not, so all of that can go: more than ten times the
requests (docs/architecture.md has the figures). URLs, views and error handling are Django's.
"""

import asyncio
import contextlib
import functools
import logging
from collections.abc import Awaitable, Callable, Mapping
from io import BytesIO
from typing import Any

from django.conf import settings
from django.core.handlers.asgi import ASGIHandler, ASGIRequest
from django.core.handlers.exception import convert_exception_to_response
from django.http import HttpRequest, HttpResponseBase
from django.urls import ResolverMatch, get_resolver

from exchange_site.errors import (
    ErrorResponse,
    bad_request,
    foreign_origin,
    incomplete_request,
    internal_error,
    payload_too_large,
    too_busy,
)
from exchange_site.origins import AllowedOrigins
from exchange_site.room import Rooms
from orders import metrics

logger = logging.getLogger(__name__)

PLACE_ORDER_PATHS = ("/orders", "/orders/")

_origins = AllowedOrigins(None)

Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]


class _BodyTooLarge(Exception):
    """The request's body is larger than REQUEST_BODY_BYTES_MAX."""


class _Incomplete(Exception):
    """The client left before its request was complete, or sent chunks that are none."""


class ApiHandler(ASGIHandler):
    """Serves the JSON API: no middleware, no thread, a body of at most REQUEST_BODY_BYTES_MAX, in bounded Rooms."""

    def __init__(self) -> None:
        super().__init__()
        self._rooms = Rooms()

    def load_middleware(self, is_async: bool = False) -> None:
        self._view_middleware: list[Any] = []
        self._template_response_middleware: list[Any] = []
        self._exception_middleware: list[Any] = []
        self._middleware_chain = convert_exception_to_response(self._get_response_async)  # type: ignore[attr-defined]

    def resolve_request(self, request: HttpRequest) -> ResolverMatch:
        path = request.path_info
        short = len(path) <= settings.RESOLVED_PATH_CHARACTERS_MAX
        request.resolver_match = match = _resolve(path) if short else get_resolver().resolve(path)
        return match

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        # Counted here, where also what no view has seen is answered.
        places_order = scope["method"] == "POST" and scope["path"] in PLACE_ORDER_PATHS
        if places_order:
            metrics.received.inc()
        try:
            body = await _read_body(scope, receive)
        except _Incomplete:
            response: HttpResponseBase = incomplete_request()  # for a client that is still there
            response["Connection"] = "close"
        except _BodyTooLarge:
            await _discard_body(receive)
            response = payload_too_large()
            response["Connection"] = "close"
        else:
            work = functools.partial(self._respond, scope, body)
            response = await self._rooms.answer(scope["method"], scope["path"], work, too_busy)
        if places_order and isinstance(response, ErrorResponse):
            metrics.refused.labels(response.code).inc()
        try:
            await self.send_response(response, send)
        except (asyncio.CancelledError, ConnectionError):
            return  # the client left; what it asked for is done

    async def _respond(self, scope: dict[str, Any], body: bytes) -> HttpResponseBase:
        if _origins.refuses(scope):
            return foreign_origin()
        try:
            request = ASGIRequest(scope, BytesIO(body))
            # A body in chunks comes without, and DRF reads as many bytes as this says.
            request.META.setdefault("CONTENT_LENGTH", str(len(body)))
        except (UnicodeDecodeError, ValueError) as error:
            return bad_request(None, error)  # type: ignore[arg-type]
        try:
            return await self._middleware_chain(request)  # type: ignore[misc,no-any-return]
        except Exception:
            logger.exception("unhandled error in %s", scope.get("path"))
            return internal_error()


@functools.lru_cache(settings.RESOLVED_PATHS_MAX)
def _resolve(path: str) -> ResolverMatch:
    """The view of a path; most requests go to few paths, and matching one costs a tenth of an order."""
    return get_resolver().resolve(path)


async def _discard_body(receive: Receive) -> None:
    """Read on for a while: many clients listen only after they have sent all of it."""
    left = settings.DISCARDED_BODY_BYTES_MAX
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(settings.DISCARDED_BODY_SECONDS_MAX):
            while left > 0:
                message = await receive()
                left -= len(message.get("body", b""))
                if not message.get("more_body", False):
                    return


async def _read_body(scope: dict[str, Any], receive: Receive) -> bytes:
    """Raises _BodyTooLarge, _Incomplete."""
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value) > settings.REQUEST_BODY_BYTES_MAX:
            raise _BodyTooLarge
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Incomplete
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > settings.REQUEST_BODY_BYTES_MAX:
            raise _BodyTooLarge
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)
