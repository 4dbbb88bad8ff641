"""GET /healthz: whether the exchange can take orders. GET /livez: whether this process answers."""

from django.conf import settings
from rest_framework.request import Request

from base.encoding import encode_json
from exchange_site import schema
from orders.health import current_health
from web.content import JSONResponse
from web.schema import operation
from web.viewset import AsyncViewSet

_ALIVE = encode_json({"status": "alive"})


class LiveViewSet(AsyncViewSet):
    """For programs that restart processes."""

    @operation(**schema.LIVE)
    async def list(self, request: Request) -> JSONResponse:
        """Answers if this process runs. It does not check any other part of the exchange."""
        return JSONResponse(_ALIVE)


class HealthViewSet(AsyncViewSet):
    """For load balancers, containers and people."""

    @operation(**schema.HEALTH)
    async def list(self, request: Request) -> JSONResponse:
        """Whether database, Redis and the matching workers answer."""
        health = await current_health().get()
        headers = {} if health.status == 200 else {"Retry-After": str(settings.RETRY_AFTER_SECONDS)}
        return JSONResponse(health.body, status=health.status, headers=headers)
