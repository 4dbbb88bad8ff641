"""What the matching worker counts."""

from prometheus_client import Counter, Gauge, Histogram

accepted = Counter("exchange_orders_accepted", "Orders that the worker took and committed")
rejected = Counter("exchange_orders_rejected", "Orders that the worker rejected")
matched = Counter("exchange_trades_matched", "Trades committed")
cancelled = Counter("exchange_orders_cancelled", "Resting orders taken off by their clients")
dead_letters = Counter("exchange_dead_letters", "Stream entries that were no commands")
failed = Counter("exchange_commands_failed", "Commands that could not be carried out")
undone = Counter(
    "exchange_batches_undone", "Batches matched a second time, because an idempotency key was taken"
)
queue_length = Gauge(
    "exchange_queue_length", "Commands that wait in the stream", ["partition"], multiprocess_mode="mostrecent"
)
batch_size = Histogram(
    "exchange_batch_commands", "Commands a batch", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
)
commit_seconds = Histogram(
    "exchange_commit_seconds",
    "Matching a batch and settling it in the database",
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
)
