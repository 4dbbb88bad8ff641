"""Latencies as an HdrHistogram: three significant figures from a microsecond to an hour.

Values are recorded after a run and grouped. Recording one in pure Python takes longer than sending
a request.
"""

from collections import Counter
from collections.abc import Iterable

from hdrh.histogram import HdrHistogram

_MICROSECONDS_MAX = 3_600_000_000
_SIGNIFICANT_FIGURES = 3
PERCENTILES = (50.0, 90.0, 99.0, 99.9, 100.0)


class Latencies:
    """The latencies of one run."""

    def __init__(self, microseconds: Iterable[int]) -> None:
        self.histogram = HdrHistogram(1, _MICROSECONDS_MAX, _SIGNIFICANT_FIGURES)
        for value, count in Counter(microseconds).items():
            self.histogram.record_value(min(max(value, 1), _MICROSECONDS_MAX), count)

    @property
    def count(self) -> int:
        return int(self.histogram.get_total_count())

    def milliseconds_at(self, percentile: float) -> float:
        """Return the latency that `percentile` per cent of the requests did not exceed."""
        return int(self.histogram.get_value_at_percentile(percentile)) / 1000

    def counted_milliseconds(self) -> list[tuple[float, int]]:
        """Return every recorded value with its count, smallest first."""
        return [
            (item.value_iterated_to / 1000, item.count_added_in_this_iter_step)
            for item in self.histogram.get_recorded_iterator()
        ]


def percentile_name(percentile: float) -> str:
    return "max" if percentile == 100 else f"p{percentile:g}"
