"""GET /metrics: the metrics of all processes of the exchange, as Prometheus text.

The counts of the processes come from the files that they share. The state of the partitions is read
from Redis for each text. Requests at about the same time share a text. A thread of its own makes
the text, so that orders do not wait while files are read.
"""

import asyncio
import contextlib
import functools
import platform
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import django
from django.conf import settings
from django.http import HttpResponse
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from redis.exceptions import RedisError
from rest_framework.request import Request

from base.loops import per_event_loop
from base.metrics_files import collect
from base.redis import RedisSession, connect_redis
from base.refusals import Unavailable
from base.shared import FreshResult
from orders.health import active_partitions
from orders.partition_states import PartitionState, read_partition_states
from web.viewset import AsyncViewSet

_thread = ThreadPoolExecutor(1, thread_name_prefix="metrics")


class MetricsViewSet(AsyncViewSet):
    """The counts of all processes and the state of the partitions."""

    schema = None  # The answer is not JSON, so the OpenAPI document does not describe it.

    async def list(self, request: Request) -> HttpResponse:
        """Answer in Prometheus's text format, whatever the Accept header says."""
        return HttpResponse(await _current_metrics().get(), content_type=CONTENT_TYPE_LATEST)


async def _make_text(session: RedisSession) -> bytes:
    """Return the text of all metrics. Raises OSError if EXCHANGE_METRICS_DIR can't be used."""
    states: Sequence[PartitionState] | None = None
    with contextlib.suppress(RedisError, OSError, Unavailable):  # TimeoutError is an OSError.
        async with asyncio.timeout(settings.METRICS_LIVE_SECONDS_MAX):
            states = await read_partition_states(session, await active_partitions())
    return await asyncio.get_running_loop().run_in_executor(_thread, MetricsSnapshot(states).text)


class MetricsSnapshot:
    """A Prometheus collector for one text."""

    def __init__(self, states: Sequence[PartitionState] | None) -> None:
        """`states` is None if Redis does not answer."""
        self._states = states

    def text(self) -> bytes:
        """Return all metrics. Raises OSError if the files can't be read."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        return generate_latest(registry)

    def collect(self) -> Iterable[Metric]:
        yield from collect(Path(settings.ENVIRONMENT_METRICS_DIR))
        yield _build_info()
        yield GaugeMetricFamily(
            "exchange_partitions_known",
            "1 if Redis gives the state of the partitions, 0 if not: then the following metrics are missing",
            value=float(self._states is not None),
        )
        if self._states is not None:
            yield from _partitions(self._states)


def _partitions(states: Sequence[PartitionState]) -> Iterable[Metric]:
    up = GaugeMetricFamily(
        "exchange_worker_up", "1 if a worker matches the partition, by its heartbeat", labels=["partition"]
    )
    length = GaugeMetricFamily(
        "exchange_queue_length", "Commands in the stream that are not done", labels=["partition"]
    )
    age = GaugeMetricFamily(
        "exchange_oldest_command_age_seconds",
        "Time since the oldest pending command was accepted; 0 if no command is pending",
        labels=["partition"],
    )
    for state in states:
        labels = [str(state.partition)]
        up.add_metric(labels, state.is_matched)
        length.add_metric(labels, state.queue_length)
        age.add_metric(labels, state.oldest_seconds)
    return up, length, age


def _build_info() -> Metric:
    names = {"version": settings.VERSION, "python": platform.python_version(), "django": django.get_version()}
    info = GaugeMetricFamily(
        "exchange_build_info", "The versions of the running software; always 1", labels=list(names)
    )
    info.add_metric(list(names.values()), 1)
    return info


@per_event_loop
def _current_metrics() -> FreshResult[bytes]:
    """Return the text that requests on this event loop share. It has its own session of Redis."""
    make = functools.partial(_make_text, RedisSession(connect_redis()))
    return FreshResult(
        make,
        pause_ratio=settings.SHARED_PAUSE_RATIO,
        pause_seconds_max=settings.SHARED_PAUSE_SECONDS_MAX,
    )
