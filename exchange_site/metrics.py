"""GET /metrics: Prometheus text of every process of the exchange."""

import asyncio
import os
import re
from pathlib import Path

from django.conf import settings
from django.http import HttpResponse
from django_prometheus.exports import ExportToDjangoView
from rest_framework.request import Request

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


def forget_dead_processes(*, starting: int | None = None) -> None:
    """Remove what this host's dead processes said of live things, such as open connections; their counts stay.

    `starting` begins anew under its number: what is said in its name is an earlier process's.
    """
    names = re.compile(rf"gauge_live[a-z]+_{re.escape(settings.METRICS_HOST)}-(\d+)\.db")
    for path in Path(settings.ENVIRONMENT_METRICS_DIR).glob("gauge_live*.db"):
        name = names.fullmatch(path.name)
        if name and (int(name[1]) == starting or not _is_alive(int(name[1]))):
            path.unlink(missing_ok=True)


def _is_alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it lives, as another user
    return True
