"""What the order path of the API processes counts; requests where they arrive, in exchange_site.handler.

Each count is a write to a file, out of which GET /metrics reads what all processes have counted. So the counts of
one turn of the event loop are written together.
"""

from bisect import bisect_left
from collections import Counter as Tally
from collections.abc import Sequence

from prometheus_client import Counter, Histogram

from rest.loops import Gathered

LATENCY_BUCKETS_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)


class SeriesHistogram(Histogram):
    """A histogram that takes many amounts of one series at once."""

    def observe_all(self, amounts: Sequence[float]) -> None:
        """What `observe` does for each of them."""
        self._sum.inc(sum(amounts))
        for bucket, count in Tally(bisect_left(self._upper_bounds, amount) for amount in amounts).items():
            self._buckets[bucket].inc(count)


_received = Counter("exchange_orders_received", "Requests to place an order, valid or not")
refused = Counter(
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

received = Gathered[int](lambda counts: _received.inc(sum(counts)))
latency_seconds = Gathered[float](_latency.observe_all)
cancel_latency_seconds = Gathered[float](_cancel_latency.observe_all)
