"""GET /metrics: Prometheus text of every process of the exchange."""

from django.http import HttpResponse
from django_prometheus.exports import ExportToDjangoView
from rest_framework.request import Request
from rest_framework.views import APIView


class MetricsView(APIView):
    """What the processes have counted, out of the files that they share."""

    http_method_names = ["get", "head"]
    schema = None  # no JSON: not in the OpenAPI schema

    def get(self, request: Request) -> HttpResponse:
        """The metrics in the format of the request's Accept header, by default plain text."""
        answer: HttpResponse = ExportToDjangoView(request)
        return answer
