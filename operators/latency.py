"""The latency of recent orders, from the counts that the API processes keep for GET /metrics.

The processes count from their start. So earlier readings are kept, and an earlier reading is
subtracted from the current one. If no order came in between, all orders count.
"""

import threading
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from django.conf import settings

from base.metrics_files import collect

_HISTOGRAM = "exchange_order_latency_seconds"
_STEP_SECONDS = 5.0  # Time between two readings that are kept.
_WINDOW_SECONDS = 300.0
_READINGS_MAX = round(_WINDOW_SECONDS / _STEP_SECONDS) + 1

_Buckets = Mapping[float, float]  # Numbers of orders by greatest latency in seconds.


class Latency(NamedTuple):
    """Percentiles in milliseconds. Each is its bucket's upper bound, so none is too low."""

    orders: int
    p50: str
    p99: str
    seconds: float | None  # Length of the period. None if it began with the processes.


_readings: deque[tuple[float, _Buckets]] = deque(maxlen=_READINGS_MAX)
_lock = threading.Lock()


def recent_latency() -> Latency | None:
    """Return the latency of recent orders, or None without such orders or readable counts."""
    try:
        buckets = _read_buckets()
    except (OSError, ValueError):
        return None
    now = time.monotonic()
    with _lock:
        while _readings and (
            now - _readings[0][0] > _WINDOW_SECONDS or _total(_readings[0][1]) > _total(buckets)
        ):
            _readings.popleft()
        since = _readings[0] if _readings else None
        if not _readings or now - _readings[-1][0] >= _STEP_SECONDS:
            _readings.append((now, buckets))
    if since is not None and _total(since[1]) == _total(buckets):
        since = None
    earlier = since[1] if since else {}
    recent = {bound: count - earlier.get(bound, 0) for bound, count in buckets.items()}
    orders = round(_total(recent))
    if not orders:
        return None
    return Latency(
        orders, _percentile(recent, 0.5), _percentile(recent, 0.99), now - since[0] if since else None
    )


def _read_buckets() -> _Buckets:
    buckets: dict[float, float] = {}
    for metric in collect(Path(settings.ENVIRONMENT_METRICS_DIR)):
        if metric.name == _HISTOGRAM:
            for sample in metric.samples:
                if sample.name.endswith("_bucket"):
                    bound = float(sample.labels["le"])
                    buckets[bound] = buckets.get(bound, 0) + sample.value
    return buckets


def _total(buckets: _Buckets) -> float:
    return max(buckets.values(), default=0)


def _percentile(buckets: _Buckets, share: float) -> str:
    wanted = share * _total(buckets)
    bounds = sorted(buckets)
    bound = next((bound for bound in bounds if buckets[bound] >= wanted), bounds[-1])
    if bound == float("inf"):
        return f"> {bounds[-2] * 1000:g} ms"
    return f"≤ {bound * 1000:g} ms"
