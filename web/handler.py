"""From ASGI to the views of the JSON API, without what they do not need of Django's own handler.

Django's runs every request in a ThreadSensitiveContext and watches for a disconnect in a task of its own: two
threads and two tasks a request. The API's views never leave the event loop's thread, and an order that was sent
is matched whether its client still listens or not, so all of that can go: more than ten times the requests
(docs/architecture.md has the figures). URLs, requests, responses and the handling of errors are Django's.
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
from web.room import Rooms

logger = logging.getLogger(__name__)

# Looked up once: django.conf.settings takes half a microsecond each time, and a request asks several times.
_BODY_BYTES_MAX = settings.REQUEST_BODY_BYTES_MAX
_PATH_CHARACTERS_MAX = settings.RESOLVED_PATH_CHARACTERS_MAX

ENDPOINT = "exchange.endpoint"  # of a scope: the name of its URL, once that is known

RESPONSE_HEADERS_REMEMBERED_MAX = 200  # names of our own answers' headers

_origins = AllowedOrigins()

Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]


class BodyTooLarge(Exception):
    """The request's body is larger than it may be."""


class Incomplete(Exception):
    """The client left before its request was complete, or sent chunks that are none."""


class BodyTooSlow(Exception):
    """The rest of the body did not come within REQUEST_BODY_SECONDS_MAX."""


class RepeatedHeader(Exception):
    """A header that must be single comes twice."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class ApiRequest(ASGIRequest):
    """A request whose body is here. Raises UnicodeDecodeError if its query is not text, RepeatedHeader.

    A header whose value is a list may come in several lines, which are joined (RFC 9110, section 5.3). Any other
    one that is repeated has no plain meaning: programs on the way may have read the first, the last or both.

    Django's own takes three times as long: it looks for cookies, an encoding and a prefix of the path as well.
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
                continue  # it would pass for the one with hyphens
            key = _META_NAMES.get(name) or _meta_name(name)
            text = value.decode("latin-1")
            if key in meta:
                if name not in LIST_HEADERS:
                    raise RepeatedHeader(name.decode("latin-1"))
                text = f"{meta[key]},{text}"
            meta[key] = text


class ApiHandler:
    """Serves the JSON API: no middleware, no thread, a body of at most REQUEST_BODY_BYTES_MAX, in bounded Rooms."""

    def __init__(self, meters: Mapping[tuple[str, str], RequestMeter] | None = None) -> None:
        """`meters` count the requests of some methods and paths. request_metrics.py counts all others."""
        self._rooms = Rooms()
        self._meters = meters or {}

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        # Counted here, where also what no view has seen is answered.
        meter = self._meters.get((scope["method"], scope["path"]))
        if meter is not None:
            meter.begin()
        started = time.perf_counter()
        try:
            body = await read_body(scope, receive, _BODY_BYTES_MAX)
            started = time.perf_counter()  # a slow client is not a slow answer
        except Incomplete:
            response: ApiResponse = incomplete_request()  # for a client that is still there
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
            response = await self._rooms.answer(scope["method"], scope["path"], work, too_busy)
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
            return  # the client left; what it asked for is done

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
                return preflight_answer(_methods(match.func.actions))  # type: ignore[attr-defined]
            return await match.func(request, *match.args, **match.kwargs)  # type: ignore[no-any-return]
        except Exception as error:
            return _response_for(request, error)


async def send_response(response: ApiResponse, send: Send) -> None:
    """Raises ConnectionError where the client has left."""
    headers = [(_header_name(name), text.encode("latin-1")) for name, text in response.items()]
    await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
    await send({"type": "http.response.body", "body": response.content})


@functools.lru_cache(RESPONSE_HEADERS_REMEMBERED_MAX)
def _header_name(name: str) -> bytes:
    """As ASGI wants it."""
    return name.lower().encode("latin-1")


def _response_for(request: ApiRequest, error: Exception) -> HttpResponse:
    """One of web.errors."""
    if isinstance(error, Http404):
        return page_not_found(request, error)  # Django would show a page of its own where DEBUG is on
    try:
        return response_for_exception(request, error)
    except Exception:
        logger.exception("unhandled error in %s", request.path)
        return internal_error()


def _methods(actions: Mapping[str, str]) -> list[str]:
    """Of an endpoint: HEAD comes with GET."""
    return [method.upper() for method in actions] + (["HEAD"] if "get" in actions else [])


def _meta_name(name: bytes) -> str:
    """The key of a header in a request's META, as CGI has it (RFC 3875, section 4.1.18)."""
    return "HTTP_" + name.decode("latin-1").upper().replace("-", "_")


# Headers whose value is a list by their definition. A browser's cookies are not read here.
LIST_HEADERS = frozenset(
    {
        *(
            b"accept",
            b"accept-charset",
            b"accept-encoding",
            b"accept-language",
            b"access-control-request-headers",
        ),
        *(b"allow", b"baggage", b"cache-control", b"connection", b"content-encoding", b"content-language"),
        *(
            b"cookie",
            b"expect",
            b"forwarded",
            b"if-match",
            b"if-none-match",
            b"keep-alive",
            b"link",
            b"pragma",
        ),
        *(b"prefer", b"priority", b"sec-ch-ua", b"te", b"trailer", b"transfer-encoding", b"tracestate"),
        *(b"upgrade", b"vary", b"via", b"warning", b"x-forwarded-for", b"x-forwarded-host"),
        *(b"x-forwarded-port", b"x-forwarded-proto"),
    }
)
_META_NAMES = {
    b"content-type": "CONTENT_TYPE",
    b"content-length": "CONTENT_LENGTH",
    **{name: _meta_name(name) for name in (b"accept", b"host", b"idempotency-key", b"user-agent")},
}


def _resolve(path: str) -> ResolverMatch:
    """The view of a path; most requests go to few paths, and matching one costs a tenth of an order."""
    if len(path) <= _PATH_CHARACTERS_MAX:
        return _remembered(path)
    return get_resolver().resolve(path)


@functools.lru_cache(settings.RESOLVED_PATHS_MAX)
def _remembered(path: str) -> ResolverMatch:
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


async def read_body(scope: Mapping[str, Any], receive: Receive, bytes_max: int) -> bytes:
    """Raises BodyTooLarge, BodyTooSlow, Incomplete."""
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value) > bytes_max:
            raise BodyTooLarge
    body, is_whole = await _read_part(receive, bytes_max)
    if is_whole:  # as most are: without a timer
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
    """The next part of a body, and whether it is the last one."""
    message = await receive()
    if message["type"] == "http.disconnect":
        raise Incomplete
    chunk = message.get("body", b"")
    if len(chunk) > bytes_max:
        raise BodyTooLarge
    return chunk, not message.get("more_body", False)


def _waits_for_continue(scope: Mapping[str, Any]) -> bool:
    """Whether the client sends its body only if it is asked to: one that is refused needs no body."""
    return any(name == b"expect" and scope["http_version"] != "1.0" for name, _ in scope["headers"])
