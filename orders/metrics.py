"""What the order path of the API processes counts; requests when they arrive (`PlaceOrderMeter`).

Each count is a write to a file, out of which GET /metrics reads what all processes have counted. So the counts of
one turn of the event loop are written together.
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
    "From a request to place an order to its answer, of orders that were taken",
    buckets=LATENCY_BUCKETS_SECONDS,
)
_cancel_latency = SeriesHistogram(
    "exchange_cancel_latency_seconds",
    "From a request to cancel an order to its answer, of orders that were cancelled",
    buckets=LATENCY_BUCKETS_SECONDS,
)

_received_together = TurnBatcher[int](lambda counts: _received.inc(sum(counts)))
latency_seconds = TurnBatcher[float](_latency.observe_all)
cancel_latency_seconds = TurnBatcher[float](_cancel_latency.observe_all)


class PlaceOrderMeter:
    """Counts requests to place an order, those as well that no view has seen."""

    def begin(self) -> None:
        _received_together.add(1)

    def end(self, error_code: str | None) -> None:
        if error_code is not None:
            _refused.labels(error_code).inc()
