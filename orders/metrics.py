"""Metrics of placed and cancelled orders in the API processes.

Each change of a metric is a write to a file, from which GET /metrics reads the metrics of all
processes. The changes in one turn of the event loop are therefore written together.
"""

from prometheus_client import Counter

from base.histograms import LATENCY_BUCKETS_SECONDS, SeriesHistogram
from base.loops import TurnBatcher

_received = Counter("exchange_orders_received", "Requests to place an order, valid or not")
_refused = Counter(
    "exchange_orders_refused", "Requests to place an order that were answered with an error", ["code"]
)
_latency = SeriesHistogram(
    "exchange_order_latency_seconds",
    "Seconds from a request to place an order to its answer, without refused requests",
    buckets=LATENCY_BUCKETS_SECONDS,
)
_cancel_latency = SeriesHistogram(
    "exchange_cancel_latency_seconds",
    "Seconds from a request to cancel an order to its answer, without refused requests",
    buckets=LATENCY_BUCKETS_SECONDS,
)

_received_together = TurnBatcher[int](lambda counts: _received.inc(sum(counts)))
latency_seconds = TurnBatcher[float](_latency.observe_all)
cancel_latency_seconds = TurnBatcher[float](_cancel_latency.observe_all)


class PlaceOrderMeter:
    """Counts all requests to place an order, including requests that never reach a view."""

    def begin(self) -> None:
        _received_together.add(1)

    def end(self, error_code: str | None) -> None:
        if error_code is not None:
            _refused.labels(error_code).inc()
