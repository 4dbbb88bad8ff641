"""Which web pages may open the stream, place and cancel orders, and read answers: one rule for REST and WebSocket.

A browser names the origin of the page that makes it send a request. Pages under ALLOWED_HOSTS are our own. Pages of
CORS_ORIGINS (EXCHANGE_CORS_ORIGINS) may do the same, and a browser shows them our answers if these bear the headers
of CORS (https://fetch.spec.whatwg.org/#http-cors-protocol). Programs send no origin and are let in: the rule
protects people's browsers, not the exchange.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import SplitResult, urlsplit

from channels.security.websocket import OriginValidator
from django.conf import settings
from django.http import HttpResponse

from web.content import ApiResponse

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
REQUEST_HEADERS = "Content-Type, Idempotency-Key"  # beyond those that every page may send
EXPOSED_HEADERS = "RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, Retry-After, Idempotency-Replayed"
PREFLIGHT = "HTTP_ACCESS_CONTROL_REQUEST_METHOD"  # in META, of a browser's question before the request itself


class AllowedOrigins(OriginValidator):  # type: ignore[misc]
    """Lets WebSockets of our own and of listed pages through to an application; knows both kinds of origins."""

    def __init__(self, application: Any = None) -> None:
        super().__init__(application, settings.ALLOWED_HOSTS)
        self.listed = frozenset(settings.CORS_ORIGINS)

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """A handshake with an origin that is not allowed, is no URL, or comes twice, is denied with 403."""
        origins = _origins(scope)
        if len(origins) > 1 or not all(map(self.allows, origins)):
            await receive()
            await send({"type": "websocket.close"})
            return
        await self.application(scope, receive, send)

    def allows(self, origin: str) -> bool:
        """Whether a page of this origin may do what a program may."""
        if origin in self.listed:
            return True
        try:
            parsed: SplitResult = urlsplit(origin)
            return bool(self.validate_origin(parsed))
        except ValueError:  # not a URL
            return False

    def add_headers(self, scope: Mapping[str, Any], response: ApiResponse) -> None:
        """What makes a browser show this answer to a page of a listed origin, and caches keep it apart."""
        response["Vary"] = "Origin"
        origins = _origins(scope)
        if len(origins) == 1 and origins[0] in self.listed:
            response["Access-Control-Allow-Origin"] = origins[0]
            response["Access-Control-Expose-Headers"] = EXPOSED_HEADERS


def preflight_answer(methods: Iterable[str]) -> HttpResponse:
    """What a page of a listed origin may send to an endpoint with these methods."""
    response = HttpResponse(
        status=204,
        headers={
            "Access-Control-Allow-Methods": ", ".join(methods),
            "Access-Control-Allow-Headers": REQUEST_HEADERS,
            "Access-Control-Max-Age": str(settings.CORS_PREFLIGHT_SECONDS),
        },
    )
    del response["Content-Type"]  # of no content
    return response


def _origins(scope: Mapping[str, Any]) -> Sequence[str]:
    return [value.decode("latin-1") for name, value in scope["headers"] if name == b"origin"]
