"""Counts the JSON API's answers by method, endpoint and status, and measures their latency.

Requests to place an order are counted in orders/metrics.py instead. The number of series is
bounded: clients cannot add methods, endpoints or statuses.
"""

from collections import Counter as Tally
from collections import defaultdict
from typing import NamedTuple, Protocol

from prometheus_client import Counter

from base.histograms import LATENCY_BUCKETS_SECONDS, SeriesHistogram
from base.loops import TurnBatcher

NO_ENDPOINT = "none"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

_requests = Counter(
    "exchange_requests", "Requests, except those to place an order", ["method", "endpoint", "status"]
)
_seconds = SeriesHistogram(
    "exchange_request_seconds",
    "Seconds from a request's last byte to its answer, except requests to place an order",
    ["endpoint"],
    buckets=LATENCY_BUCKETS_SECONDS,
)


class RequestMeter(Protocol):
    """Counts the requests to one endpoint. The metrics of this module leave them out."""

    def begin(self) -> None: ...

    def end(self, error_code: str | None) -> None: ...


class AnsweredRequest(NamedTuple):
    """One answered request. `endpoint` is NO_ENDPOINT if no endpoint has its path."""

    method: str
    endpoint: str
    status: int
    seconds: float


def _count_requests(requests: list[AnsweredRequest]) -> None:
    """Count the requests that were answered in one turn of the event loop."""
    for (method, endpoint, status), number in Tally(request[:3] for request in requests).items():
        known = method if method in _METHODS else "other"
        _requests.labels(known, endpoint, str(status)).inc(number)
    seconds: defaultdict[str, list[float]] = defaultdict(list)
    for request in requests:
        seconds[request.endpoint].append(request.seconds)
    for endpoint, amounts in seconds.items():
        _seconds.labels(endpoint).observe_all(amounts)


answered = TurnBatcher[AnsweredRequest](_count_requests)
