"""Decides which web pages may open the stream, place and cancel orders, and read answers.

REST and WebSocket have the same rule. A browser sends the origin of the page that caused a request.
Pages under ALLOWED_HOSTS are the exchange's own. Pages of CORS_ORIGINS (EXCHANGE_CORS_ORIGINS) may
do the same. A browser lets such a page read an answer only if the answer has the headers of CORS
(https://fetch.spec.whatwg.org/#http-cors-protocol). Programs send no origin and are allowed: the
rule protects people's browsers, not the exchange.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import SplitResult, urlsplit

from channels.security.websocket import OriginValidator
from django.conf import settings
from django.http import HttpResponse

from web.content import ApiResponse

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
# Headers that a listed page may send in addition to the headers that any page may send.
REQUEST_HEADERS = "Content-Type, Idempotency-Key"
EXPOSED_HEADERS = "RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, Retry-After, Idempotency-Replayed"
PREFLIGHT = "HTTP_ACCESS_CONTROL_REQUEST_METHOD"  # present in META if the request is a preflight


class AllowedOrigins(OriginValidator):  # type: ignore[misc]
    """Checks origins, and passes WebSockets from allowed origins to an application.

    An origin is allowed if it is the exchange's own, or `listed` in CORS_ORIGINS.
    """

    def __init__(self, application: Any = None) -> None:
        super().__init__(application, settings.ALLOWED_HOSTS)
        self.listed = frozenset(settings.CORS_ORIGINS)

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Deny a handshake with 403 if its origin is not allowed, is not a URL, or is repeated."""
        origins = _origin_headers(scope)
        if len(origins) > 1 or not all(map(self.allows, origins)):
            await receive()
            await send({"type": "websocket.close"})
            return
        await self.application(scope, receive, send)

    def allows(self, origin: str) -> bool:
        """Return whether a page of this origin may do everything that a program may do."""
        if origin in self.listed:
            return True
        try:
            parsed: SplitResult = urlsplit(origin)
            return bool(self.validate_origin(parsed))
        except ValueError:  # not a URL
            return False

    def add_headers(self, scope: Mapping[str, Any], response: ApiResponse) -> None:
        """Add the headers of CORS if the request's origin is listed.

        `Vary` is always added, so that caches store the answers of different origins separately.
        """
        response["Vary"] = "Origin"
        origins = _origin_headers(scope)
        if len(origins) == 1 and origins[0] in self.listed:
            response["Access-Control-Allow-Origin"] = origins[0]
            response["Access-Control-Expose-Headers"] = EXPOSED_HEADERS


def preflight_answer(methods: Iterable[str]) -> HttpResponse:
    """Return the answer to a preflight from a listed origin, for an endpoint with these methods."""
    response = HttpResponse(
        status=204,
        headers={
            "Access-Control-Allow-Methods": ", ".join(methods),
            "Access-Control-Allow-Headers": REQUEST_HEADERS,
            "Access-Control-Max-Age": str(settings.CORS_PREFLIGHT_SECONDS),
        },
    )
    del response["Content-Type"]  # the answer has no body
    return response


def _origin_headers(scope: Mapping[str, Any]) -> Sequence[str]:
    return [value.decode("latin-1") for name, value in scope["headers"] if name == b"origin"]
