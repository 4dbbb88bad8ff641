"""The ASGI handler of the JSON API. It does less than Django's own handler and is faster.

Django's handler runs every request in a ThreadSensitiveContext and watches for a disconnect in a
separate task, which takes two threads and two tasks for each request. The API needs neither. Its
views never leave the event loop's thread, and an order is matched even if its client has
disconnected. Without threads and tasks, the API answers more than ten times as many requests
(figures: docs/architecture.md). URLs and error handling are Django's.
"""

import asyncio
import contextlib
import functools
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.core.handlers.exception import response_for_exception
from django.http import Http404, HttpResponse
from django.urls import ResolverMatch, get_resolver

from web.concurrency import ApiConcurrency
from web.content import ApiResponse
from web.errors import (
    ErrorResponse,
    bad_request,
    foreign_origin,
    incomplete_request,
    internal_error,
    page_not_found,
    payload_too_large,
    repeated_header,
    request_timeout,
    too_busy,
)
from web.origins import PREFLIGHT, SAFE_METHODS, AllowedOrigins, preflight_answer
from web.request_metrics import NO_ENDPOINT, AnsweredRequest, RequestMeter, answered

logger = logging.getLogger(__name__)

# Read once: each access to django.conf.settings takes half a microsecond, and a request needs
# several.
_BODY_BYTES_MAX = settings.REQUEST_BODY_BYTES_MAX
_PATH_CHARACTERS_MAX = settings.RESOLVED_PATH_CHARACTERS_MAX

# The key in an ASGI scope for the name of the request's URL pattern. It is set once the path is
# resolved.
ENDPOINT = "exchange.endpoint"

# The key for a function that tells whether the client has closed its connection. The handler removes
# it from the scope, so that scope and function do not keep each other in memory.
HAS_LEFT = "exchange.has_left"

# The number of response header names whose encoded form is cached.
RESPONSE_HEADERS_REMEMBERED_MAX = 200

_origins = AllowedOrigins()

Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]


class BodyTooLarge(Exception):
    """The request's body is larger than the limit."""


class Incomplete(Exception):
    """The client disconnected before its request was complete, or sent invalid chunks."""


class BodyTooSlow(Exception):
    """The rest of the body did not arrive within REQUEST_BODY_SECONDS_MAX."""


class RepeatedHeader(Exception):
    """A header that may be sent only once was sent more than once."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class ApiRequest(ASGIRequest):
    """A request whose body was already read.

    A header whose value is a list may be sent in several lines, which are joined (RFC 9110, section
    5.3). Any other repeated header is ambiguous, because a proxy may have read the first line, the
    last line or both.

    Django's own request takes three times as long, because it also looks for cookies, an encoding
    and a prefix of the path.

    Raises UnicodeDecodeError if the query string is not UTF-8, RepeatedHeader.
    """

    _encoding = "utf-8"

    def __init__(self, scope: dict[str, Any], body: bytes) -> None:
        self.scope = scope
        self.method = scope["method"]
        self.path = self.path_info = scope["path"]
        self.resolver_match = None
        self._body = body
        self.META = meta = {
            "REQUEST_METHOD": self.method,
            "PATH_INFO": self.path,
            "QUERY_STRING": scope.get("query_string", b"").decode(),
        }
        for name, value in scope["headers"]:
            if b"_" in name:
                continue  # in META it would replace the header with hyphens
            key = _META_NAMES.get(name) or _meta_name(name)
            text = value.decode("latin-1")
            if key in meta:
                if name not in LIST_HEADERS:
                    raise RepeatedHeader(name.decode("latin-1"))
                text = f"{meta[key]},{text}"
            meta[key] = text


def _never_leaves() -> bool:
    """Stand in for HAS_LEFT on a server that does not give it."""
    return False


class ApiHandler:
    """Serves the JSON API without middleware and threads.

    A body has at most REQUEST_BODY_BYTES_MAX. ApiConcurrency limits the requests in progress.
    """

    def __init__(self, meters: Mapping[tuple[str, str], RequestMeter] | None = None) -> None:
        """Each meter counts the requests of one method and path, and `answered` all others."""
        self._concurrency = ApiConcurrency()
        self._meters = meters or {}

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        # Requests are counted here because some are answered before they reach a view.
        meter = self._meters.get((scope["method"], scope["path"]))
        if meter is not None:
            meter.begin()
        started = time.perf_counter()
        try:
            body = await read_body(scope, receive, _BODY_BYTES_MAX)
            started = time.perf_counter()  # exclude the time that the client took to send its body
        except Incomplete:
            # A client that sent invalid chunks can still read the answer.
            response: ApiResponse = incomplete_request()
            response["Connection"] = "close"
        except BodyTooSlow:
            response = request_timeout()
            response["Connection"] = "close"
        except BodyTooLarge:
            if not _waits_for_continue(scope):
                await _discard_body(receive)
            response = payload_too_large(_BODY_BYTES_MAX)
            response["Connection"] = "close"
        else:
            work = functools.partial(self._respond, scope, body)
            has_left = scope.pop(HAS_LEFT, _never_leaves)
            response = await self._concurrency.answer(
                scope["method"], scope["path"], work, too_busy, has_left
            )
        if meter is None:
            seconds = time.perf_counter() - started
            endpoint = scope.get(ENDPOINT, NO_ENDPOINT)
            answered.add(AnsweredRequest(scope["method"], endpoint, response.status_code, seconds))
        else:
            meter.end(response.code if isinstance(response, ErrorResponse) else None)
        if _origins.listed:
            _origins.add_headers(scope, response)
        try:
            await send_response(response, send)
        except (asyncio.CancelledError, ConnectionError):
            return  # the client has disconnected; its request is not undone

    async def _respond(self, scope: dict[str, Any], body: bytes) -> ApiResponse:
        try:
            request = ApiRequest(scope, body)
        except UnicodeDecodeError as error:
            return bad_request(None, error)  # type: ignore[arg-type]
        except RepeatedHeader as repeated:
            return repeated_header(repeated.name)
        origin = request.META.get("HTTP_ORIGIN")
        preflight = False
        if origin is not None:
            preflight = request.method == "OPTIONS" and PREFLIGHT in request.META
            if (preflight or request.method not in SAFE_METHODS) and not _origins.allows(origin):
                return foreign_origin()
        try:
            request.resolver_match = match = _resolve(request.path)
            scope[ENDPOINT] = match.url_name
            if preflight and origin in _origins.listed:
                return preflight_answer(_allowed_methods(match.func.actions))  # type: ignore[attr-defined]
            return await match.func(request, *match.args, **match.kwargs)  # type: ignore[no-any-return]
        except Exception as error:
            return _error_response(request, error)


async def send_response(response: ApiResponse, send: Send) -> None:
    """Send a response. Raises ConnectionError if the client has disconnected."""
    headers = [(_header_name(name), text.encode("latin-1")) for name, text in response.items()]
    await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
    await send({"type": "http.response.body", "body": response.content})


@functools.lru_cache(RESPONSE_HEADERS_REMEMBERED_MAX)
def _header_name(name: str) -> bytes:
    """Return a header's name as ASGI requires it: in lower case, as bytes."""
    return name.lower().encode("latin-1")


def _error_response(request: ApiRequest, error: Exception) -> HttpResponse:
    """Return the response in the error format for an exception that no view has handled."""
    if isinstance(error, Http404):
        return page_not_found(request, error)  # with DEBUG, Django would answer in HTML
    try:
        return response_for_exception(request, error)
    except Exception:
        logger.exception("unhandled error in %s", request.path)
        return internal_error()


def _allowed_methods(actions: Mapping[str, str]) -> list[str]:
    """Return the methods of an endpoint. Each endpoint with GET also allows HEAD."""
    return [method.upper() for method in actions] + (["HEAD"] if "get" in actions else [])


def _meta_name(name: bytes) -> str:
    """Return the key of a header in META, as defined by CGI (RFC 3875, section 4.1.18)."""
    return "HTTP_" + name.decode("latin-1").upper().replace("-", "_")


# Headers whose value is a list by definition. Cookie is one of them because the API reads no
# cookies.
LIST_HEADERS = frozenset(
    b"accept accept-charset accept-encoding accept-language access-control-request-headers"
    b" allow baggage cache-control connection content-encoding content-language"
    b" cookie expect forwarded if-match if-none-match keep-alive link pragma"
    b" prefer priority sec-ch-ua te trailer transfer-encoding tracestate"
    b" upgrade vary via warning x-forwarded-for x-forwarded-host"
    b" x-forwarded-port x-forwarded-proto".split()
)
_META_NAMES = {
    b"content-type": "CONTENT_TYPE",
    b"content-length": "CONTENT_LENGTH",
    **{name: _meta_name(name) for name in (b"accept", b"host", b"idempotency-key", b"user-agent")},
}


def _resolve(path: str) -> ResolverMatch:
    """Return the view of a path. Cached, because resolving takes a tenth of an order's time."""
    if len(path) <= _PATH_CHARACTERS_MAX:
        return _resolve_cached(path)
    return get_resolver().resolve(path)


@functools.lru_cache(settings.RESOLVED_PATHS_MAX)
def _resolve_cached(path: str) -> ResolverMatch:
    return get_resolver().resolve(path)


async def _discard_body(receive: Receive) -> None:
    """Read the rest of a body, up to a limit of bytes and time.

    Many clients read the answer only after they have sent the whole body.
    """
    left = settings.DISCARDED_BODY_BYTES_MAX
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(settings.DISCARDED_BODY_SECONDS_MAX):
            while left > 0:
                message = await receive()
                left -= len(message.get("body", b""))
                if not message.get("more_body", False):
                    return


async def read_body(scope: Mapping[str, Any], receive: Receive, bytes_max: int) -> bytes:
    """Return the whole body of a request. Raises BodyTooLarge, BodyTooSlow, Incomplete."""
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value) > bytes_max:
            raise BodyTooLarge
    body, is_whole = await _read_part(receive, bytes_max)
    if is_whole:  # most bodies come in one part and need no timer
        return body
    chunks = [body]
    try:
        async with asyncio.timeout(settings.REQUEST_BODY_SECONDS_MAX):
            while not is_whole:
                bytes_max -= len(chunks[-1])
                chunk, is_whole = await _read_part(receive, bytes_max)
                chunks.append(chunk)
    except TimeoutError:
        raise BodyTooSlow from None
    return b"".join(chunks)


async def _read_part(receive: Receive, bytes_max: int) -> tuple[bytes, bool]:
    """Return the next part of a body, and whether it is the last one.

    Raises BodyTooLarge, Incomplete.
    """
    message = await receive()
    if message["type"] == "http.disconnect":
        raise Incomplete
    chunk = message.get("body", b"")
    if len(chunk) > bytes_max:
        raise BodyTooLarge
    return chunk, not message.get("more_body", False)


def _waits_for_continue(scope: Mapping[str, Any]) -> bool:
    """Return whether the client waits for `100 Continue` before it sends its body.

    If such a request is refused, there is no body to discard.
    """
    return any(name == b"expect" and scope["http_version"] != "1.0" for name, _ in scope["headers"])
