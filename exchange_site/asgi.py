"""The ASGI application: the JSON API, the stream, and Django's own pages, each on the handler that suits it."""

import os
import warnings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "exchange_site.settings")

from django.core.asgi import get_asgi_application

django_application = get_asgi_application()  # sets Django up: what is imported below needs it

from typing import Any, cast

from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from exchange_site.handler import ApiHandler, Receive, Send, send_response
from exchange_site.origins import AllowedOrigins
from exchange_site.pages import DOCUMENT_PATH, PAGE_PREFIXES, Pages
from exchange_site.server.heads import HEAD_CHECKED, head_refusal
from marketdata.routing import websocket_urlpatterns
from rest.memory import settle_memory
from rest.metrics_files import share_counts
from rest.process_metrics import watch_this_process

api = ApiHandler()
# Forms must come from the page's own origin, of which the scheme is a part: a trusted proxy tells it. The API does
# not ask, and reading the client's address costs it a tenth of an order.
trusted_proxies = [str(network) for network in settings.ENVIRONMENT.trusted_proxies]
pages = Pages(ProxyHeadersMiddleware(cast("Any", django_application), trusted_proxies))

# WhiteNoise answers with open files. Django reads each to its end, on a thread, before it sends it, and warns of
# that: no harm with the pages' own scripts and styles, which have 4 MB at most.
warnings.filterwarnings(
    "ignore",
    "StreamingHttpResponse must consume synchronous iterators",
    module=r"django\.core\.handlers\.asgi",
)


async def http(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Django's pages need sessions, forms and threads; the JSON API, which is everything else, none of them."""
    if HEAD_CHECKED not in scope and (refusal := head_refusal(scope)) is not None:
        await send_response(refusal, send)
        return
    if scope["path"].startswith(PAGE_PREFIXES) and not scope["path"].startswith(DOCUMENT_PATH):
        await pages(scope, receive, send)
    else:
        await api(scope, receive, send)


application = ProtocolTypeRouter(
    {"http": http, "websocket": AllowedOrigins(URLRouter(websocket_urlpatterns))}
)

share_counts()
watch_this_process("api")
settle_memory()
