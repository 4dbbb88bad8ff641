"""GET /metrics: Prometheus text of every process of the exchange."""

import asyncio

from django.http import HttpResponse
from django_prometheus.exports import ExportToDjangoView
from rest_framework.request import Request

from exchange_site.metric_files import forget_dead_processes
from rest.viewset import AsyncViewSet


class MetricsViewSet(AsyncViewSet):
    """What the processes have counted, out of the files that they share."""

    schema = None  # no JSON: not in the OpenAPI schema

    async def list(self, request: Request) -> HttpResponse:
        """The metrics in the format of the request's Accept header, by default plain text."""
        return await asyncio.to_thread(_collect, request)


def _collect(request: Request) -> HttpResponse:
    """Reads files."""
    forget_dead_processes()
    answer: HttpResponse = ExportToDjangoView(request)
    return answer
