"""A minimal order API: the exchange's server, application and viewset with a constant answer.

`python -m benchmarks.http` runs it as `serve` runs the exchange. The difference to real orders is
the cost of validation, matching and the commit.
"""

from django.conf import settings
from django.urls import re_path
from rest_framework.request import Request

from exchange_site.asgi import application
from web.content import JSONResponse
from web.viewset import AsyncViewSet

ANSWER = {
    "order_id": "01890a5d-ac96-774b-bcce-b302099a8057",
    "client_id": "client-1",
    "instrument": "BTC-USD",
    "side": "buy",
    "type": "limit",
    "price": 70000,
    "quantity": 0.1,
    "filled_quantity": 0,
    "remaining_quantity": 0.1,
    "average_price": None,
    "status": "open",
    "reason": None,
    "idempotency_key": "key-1",
    "created_at": "2026-01-31T12:00:00.123Z",
    "updated_at": "2026-01-31T12:00:00.123Z",
    "trades": [],
}


class NoopViewSet(AsyncViewSet):
    """Answers without reading the request."""

    async def create(self, request: Request) -> JSONResponse:
        return JSONResponse(ANSWER, status=201)

    async def list(self, request: Request) -> JSONResponse:
        return JSONResponse({"status": "healthy"})


urlpatterns = [
    re_path(r"^orders/?$", NoopViewSet.as_view({"post": "create"})),
    re_path(r"^healthz/?$", NoopViewSet.as_view({"get": "list"})),
]

settings.ROOT_URLCONF = __name__

__all__ = ["application"]
