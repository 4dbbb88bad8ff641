"""The matching worker's metrics.

The queue's length is read at each scrape: exchange_site/metrics.py.
"""

from prometheus_client import Counter, Gauge, Histogram

MARKET = ("partition", "instrument")

_accepted = Counter("exchange_orders_accepted", "Orders that the worker took and committed", MARKET)
_rejected = Counter("exchange_orders_rejected", "Orders that the worker rejected", MARKET)
_matched = Counter("exchange_trades_matched", "Trades committed", MARKET)
_cancelled = Counter(
    "exchange_orders_cancelled", "Resting or waiting orders taken off by their clients or an operator", MARKET
)
_expired = Counter("exchange_orders_expired", "Orders cancelled because their time had come", MARKET)
_triggered = Counter("exchange_orders_triggered", "Waiting orders triggered by a trade", MARKET)
_resting = Gauge(
    "exchange_resting_orders",
    "Orders in the worker's book, at its last heartbeat",
    MARKET,
    multiprocess_mode="livemostrecent",
)
_waiting = Gauge(
    "exchange_waiting_orders",
    "Orders that wait for their trigger, at the worker's last heartbeat",
    MARKET,
    multiprocess_mode="livemostrecent",
)
deferred = Gauge(
    "exchange_deferred_commands",
    "Commands that wait for a chain of triggered orders, at the worker's last heartbeat",
    ("partition",),
    multiprocess_mode="livemostrecent",
)
dead_letters = Counter("exchange_dead_letters", "Stream entries that were no commands")
failed = Counter("exchange_commands_failed", "Commands that could not be carried out")
undone = Counter(
    "exchange_batches_undone", "Batches matched a second time, because an idempotency key was taken"
)
batch_size = Histogram(
    "exchange_batch_commands", "Commands a batch", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
)
commit_seconds = Histogram(
    "exchange_commit_seconds",
    "Matching a batch and committing it to the database",
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
)


class MarketMetrics:
    """The series of one instrument. They exist from the start, at 0."""

    def __init__(self, partition: int, symbol: str) -> None:
        labels = (str(partition), symbol)
        self.accepted = _accepted.labels(*labels)
        self.rejected = _rejected.labels(*labels)
        self.matched = _matched.labels(*labels)
        self.cancelled = _cancelled.labels(*labels)
        self.expired = _expired.labels(*labels)
        self.triggered = _triggered.labels(*labels)
        self.resting = _resting.labels(*labels)
        self.waiting = _waiting.labels(*labels)
