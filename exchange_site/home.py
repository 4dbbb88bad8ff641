"""GET /: the trading screen for browsers, and a list of the endpoints for other clients.

The screen uses the public API alone, so nothing here knows of the market. Its files are answered
from memory on the event loop: the screen opens even if all threads of Django's pages are busy.
"""

import functools
from collections.abc import Mapping
from typing import Any

from django.http import Http404
from django.urls import URLPattern, get_resolver
from rest_framework.request import Request

from base.encoding import encode_json
from exchange_site import schema
from screen.files import PAGE, ScreenFile, accepts_gzip, accepts_html, screen_files
from web.content import JSONResponse
from web.schema import operation
from web.viewset import AsyncViewSet

# Scripts, styles, requests and the WebSocket come from the exchange itself, and nothing is inline.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:;"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
_PAGE_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    # The page names the current files, so browsers must not keep an old one.
    "Cache-Control": "no-cache",
    "Vary": "Accept, Accept-Encoding",
}
_FILE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    # A file's name contains a hash of its content. A year is the customary maximum.
    "Cache-Control": "public, max-age=31536000, immutable",
    "Vary": "Accept-Encoding",
}


class HomeViewSet(AsyncViewSet):
    """The first page."""

    @operation(**schema.HOME)
    async def list(self, request: Request) -> JSONResponse:
        """Return the trading screen if the Accept header has text/html, else a list as JSON."""
        if accepts_html(request.META.get("HTTP_ACCEPT", "")):
            return _file_response(request, screen_files()[PAGE], _PAGE_HEADERS)
        return JSONResponse(_list_of_endpoints(), headers={"Vary": "Accept"})


class ScreenFileViewSet(AsyncViewSet):
    """The scripts and styles of the trading screen."""

    schema = None  # Only the screen's page names these files.

    @operation()
    async def retrieve(self, request: Request, name: str) -> JSONResponse:
        """Return a file by its name."""
        found = screen_files().get(name)
        if found is None or name == PAGE:
            raise Http404
        return _file_response(request, found, _FILE_HEADERS)


def _file_response(request: Request, file: ScreenFile, headers: Mapping[str, str]) -> JSONResponse:
    headers = {"Content-Type": file.media_type, **headers}
    if accepts_gzip(request.META.get("HTTP_ACCEPT_ENCODING", "")):
        return JSONResponse(file.gzipped, headers={**headers, "Content-Encoding": "gzip"})
    return JSONResponse(file.plain, headers=headers)


@functools.cache
def _list_of_endpoints() -> bytes:
    """Return the documented endpoints with their methods, as JSON."""
    endpoints = []
    for pattern in get_resolver().url_patterns:
        view: Any = getattr(pattern, "callback", None)
        actions = getattr(view, "actions", None)
        if isinstance(pattern, URLPattern) and actions and view.cls.schema is not None:
            endpoints.append({"path": pattern.name, "methods": sorted(name.upper() for name in actions)})
    return encode_json(
        {
            "endpoints": endpoints,
            "stream": "/stream",
            "documentation": "/docs",
            "openapi": "/docs/schema",
            "asyncapi": "/docs/stream",
        }
    )
