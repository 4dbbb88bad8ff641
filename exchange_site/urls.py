"""All URLs. A trailing slash is optional everywhere in the API."""

from typing import Any

from django.contrib import admin
from django.urls import URLPattern, path, re_path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularSwaggerView

from exchange_site.clock import TimeViewSet
from exchange_site.documents import DocumentViewSet, StreamDocumentViewSet
from exchange_site.health import HealthViewSet, LiveViewSet
from exchange_site.home import HomeViewSet, ScreenFileViewSet
from exchange_site.metrics import MetricsViewSet
from instruments.views import InstrumentViewSet
from marketdata.views import CandleViewSet, OrderBookViewSet, TickerViewSet, TradeViewSet
from orders.mass_views import MassOrderViewSet
from orders.views import FillViewSet, OrderViewSet
from web.viewset import AsyncViewSet

admin.autodiscover()  # Called here: only processes that serve pages need the admin's modules.

ORDER_ID = r"(?P<order_id>[^/]+)"


def endpoint(route: str, viewset: type[AsyncViewSet], **actions: Any) -> URLPattern:
    """Return a URL pattern named after its documented path, which GET /metrics shows."""
    name = "/" + route.replace(ORDER_ID, "{order_id}")
    return re_path(rf"^{route}/?$", viewset.as_view(actions), name=name)


READ_ONLY = {"http_method_names": ["get", "head"]}  # The page of /docs can't answer OPTIONS.

urlpatterns = [
    endpoint("", HomeViewSet, get="list"),
    endpoint(r"screen/(?P<name>[^/]+)", ScreenFileViewSet, get="retrieve"),
    endpoint("orders", OrderViewSet, post="create", get="list"),
    endpoint("orders/batch", MassOrderViewSet, post="place"),
    endpoint("orders/amend", MassOrderViewSet, post="amend"),
    endpoint("orders/test", MassOrderViewSet, post="test"),
    endpoint("orders/cancel", MassOrderViewSet, post="cancel"),
    endpoint("orders/cancel-after", MassOrderViewSet, post="cancel_after"),
    endpoint(f"orders/{ORDER_ID}", OrderViewSet, get="retrieve"),
    endpoint(f"orders/{ORDER_ID}/amend", OrderViewSet, post="amend"),
    endpoint(f"orders/{ORDER_ID}/cancel", OrderViewSet, post="cancel"),
    endpoint("fills", FillViewSet, get="list"),
    endpoint("orderbook", OrderBookViewSet, get="list"),
    endpoint("trades", TradeViewSet, get="list"),
    endpoint("trades/stats", TradeViewSet, get="stats"),
    endpoint("instruments", InstrumentViewSet, get="list"),
    endpoint("ticker", TickerViewSet, get="list"),
    endpoint("tickers", TickerViewSet, get="all"),
    endpoint("candles", CandleViewSet, get="list"),
    endpoint("time", TimeViewSet, get="list"),
    endpoint("livez", LiveViewSet, get="list"),
    endpoint("healthz", HealthViewSet, get="list"),
    endpoint("metrics", MetricsViewSet, get="list"),
    endpoint("docs/schema", DocumentViewSet, get="list"),
    endpoint("docs/stream", StreamDocumentViewSet, get="list"),
    re_path(r"^docs/?$", SpectacularSwaggerView.as_view(url_name="/docs/schema", **READ_ONLY)),
    path("admin", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
]

handler400 = "web.errors.bad_request"
handler403 = "web.errors.permission_denied"
handler404 = "web.errors.page_not_found"
handler500 = "web.errors.server_error"
