"""GET /metrics: Prometheus text of every process of the exchange."""

import os
from pathlib import Path

from django.conf import settings
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
        forget_dead_processes()
        answer: HttpResponse = ExportToDjangoView(request)
        return answer


def forget_dead_processes() -> None:
    """Their gauges of what is live, such as open connections; what they have counted stays."""
    for path in Path(settings.ENVIRONMENT_METRICS_DIR).glob(f"gauge_live*_{settings.METRICS_HOST}-*.db"):
        try:
            os.kill(int(path.stem.rpartition("-")[2]), 0)
        except ProcessLookupError:
            path.unlink(missing_ok=True)
        except PermissionError:
            continue  # it lives, as another user
