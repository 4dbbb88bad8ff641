"""The ASGI application: the JSON API, the stream and Django's own pages, each with its handler."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "exchange_site.settings")

import django

django.setup(set_prefix=False)  # The imports below need it.

from typing import Any, cast

from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from base.memory import settle_memory
from base.metrics_files import share_counts
from base.process_metrics import watch_this_process
from exchange_site.pages import DOCUMENT_PATHS, PAGE_PREFIXES, django_pages, is_of_admin
from hosting.server.heads import HEAD_CHECKED, head_refusal
from orders.metrics import PlaceOrderMeter
from streaming.routing import websocket_urlpatterns
from web.errors import page_not_found
from web.handler import ApiHandler, Receive, Send, send_response
from web.origins import AllowedOrigins

_place_order = PlaceOrderMeter()
api = ApiHandler({("POST", "/orders"): _place_order, ("POST", "/orders/"): _place_order})
# A form must come from its page's own origin. The scheme is a part of the origin, and only the
# trusted proxy knows it. The API does not need the proxy's headers: reading the client's address
# from them takes a tenth of the time of an order.
trusted_proxies = [str(network) for network in settings.ENVIRONMENT.trusted_proxies]
pages = cast("Any", ProxyHeadersMiddleware(cast("Any", django_pages()), trusted_proxies))


async def http(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Pass a request to Django's pages or to the JSON API.

    Only pages need sessions, forms and threads. All other paths belong to the API.
    """
    if HEAD_CHECKED not in scope and (refusal := head_refusal(scope)) is not None:
        await send_response(refusal, send)
        return
    path = scope["path"]
    if not path.startswith(PAGE_PREFIXES) or path.startswith(DOCUMENT_PATHS):
        await api(scope, receive, send)
    elif settings.ENVIRONMENT.admin_bind and is_of_admin(path):
        await _answer_not_found(scope, receive, send)  # The admin has a listener of its own.
    else:
        await pages(scope, receive, send)


async def _admin_http(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Serve only the admin with its scripts and styles."""
    if HEAD_CHECKED not in scope and (refusal := head_refusal(scope)) is not None:
        await send_response(refusal, send)
    elif is_of_admin(scope["path"]) or scope["path"].startswith("/static/"):
        await pages(scope, receive, send)
    else:
        await _answer_not_found(scope, receive, send)


async def _answer_not_found(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    response = page_not_found(None, Exception())  # type: ignore[arg-type]
    response["Connection"] = "close"  # The body was not read.
    await send_response(response, send)


application = ProtocolTypeRouter(
    {"http": http, "websocket": AllowedOrigins(URLRouter(websocket_urlpatterns))}
)
# The application of EXCHANGE_ADMIN_BIND. It has no entry for WebSockets, so it refuses them.
admin_application = ProtocolTypeRouter({"http": _admin_http})

share_counts()
watch_this_process("api")
settle_memory()
