"""The ASGI application: the JSON API, the stream, and Django's own pages, each on the handler that suits it."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "exchange_site.settings")

import django

django.setup(set_prefix=False)  # what is imported below needs it

from typing import Any, cast

from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from base.memory import settle_memory
from base.metrics_files import share_counts
from base.process_metrics import watch_this_process
from exchange_site.pages import DOCUMENT_PATH, PAGE_PREFIXES, django_pages, is_of_admin
from hosting.server.heads import HEAD_CHECKED, head_refusal
from orders.metrics import PlaceOrderMeter
from streaming.routing import websocket_urlpatterns
from web.errors import page_not_found
from web.handler import ApiHandler, Receive, Send, send_response
from web.origins import AllowedOrigins

_place_order = PlaceOrderMeter()
api = ApiHandler({("POST", "/orders"): _place_order, ("POST", "/orders/"): _place_order})
# Forms must come from the page's own origin, of which the scheme is a part: a trusted proxy tells it. The API does
# not ask, and reading the client's address costs it a tenth of an order.
trusted_proxies = [str(network) for network in settings.ENVIRONMENT.trusted_proxies]
pages = cast("Any", ProxyHeadersMiddleware(cast("Any", django_pages()), trusted_proxies))


async def http(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Django's pages need sessions, forms and threads; the JSON API, which is everything else, none of them."""
    if HEAD_CHECKED not in scope and (refusal := head_refusal(scope)) is not None:
        await send_response(refusal, send)
        return
    path = scope["path"]
    if not path.startswith(PAGE_PREFIXES) or path.startswith(DOCUMENT_PATH):
        await api(scope, receive, send)
    elif settings.ENVIRONMENT.admin_bind and is_of_admin(path):
        await not_here(scope, receive, send)  # it has a listener of its own
    else:
        await pages(scope, receive, send)


async def admin_http(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """The admin and its scripts and styles, and nothing else."""
    if HEAD_CHECKED not in scope and (refusal := head_refusal(scope)) is not None:
        await send_response(refusal, send)
    elif is_of_admin(scope["path"]) or scope["path"].startswith("/static/"):
        await pages(scope, receive, send)
    else:
        await not_here(scope, receive, send)


async def not_here(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    response = page_not_found(None, Exception())  # type: ignore[arg-type]
    response["Connection"] = "close"  # the body was not read
    await send_response(response, send)


application = ProtocolTypeRouter(
    {"http": http, "websocket": AllowedOrigins(URLRouter(websocket_urlpatterns))}
)
# For EXCHANGE_ADMIN_BIND. Without an entry for WebSockets, their handshake is refused.
admin_application = ProtocolTypeRouter({"http": admin_http})

share_counts()
watch_this_process("api")
settle_memory()
