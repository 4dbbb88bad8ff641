"""Histograms that record many values of one series together, and the buckets of latencies."""

from bisect import bisect_left
from collections import Counter as Tally
from collections.abc import Sequence

from prometheus_client import Histogram

LATENCY_BUCKETS_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)


class SeriesHistogram(Histogram):
    """A histogram that can record many values of one series in one call."""

    def observe_all(self, amounts: Sequence[float]) -> None:
        """Record all values. Equal to one call of `observe` for each value, but faster."""
        self._sum.inc(sum(amounts))
        for bucket, count in Tally(bisect_left(self._upper_bounds, amount) for amount in amounts).items():
            self._buckets[bucket].inc(count)
