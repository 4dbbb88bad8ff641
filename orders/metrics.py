"""What the order path of the API processes counts; requests where they arrive, in exchange_site.handler."""

from prometheus_client import Counter, Histogram

LATENCY_BUCKETS_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)

received = Counter("exchange_orders_received", "Requests to place an order, valid or not")
refused = Counter(
    "exchange_orders_refused", "Requests to place an order that were answered with an error", ["code"]
)
latency = Histogram(
    "exchange_order_latency_seconds",
    "From a request to place an order to its answer, of orders that were taken",
    buckets=LATENCY_BUCKETS_SECONDS,
)
