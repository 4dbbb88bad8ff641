"""Counts committed orders, trades, cancels, expiries and triggers in the metrics, by instrument.

Each increment of a metric writes to a file, so the counts of a batch are added up first.
"""

from collections import Counter as Tally

from matching.batch.batch import Batch
from matching.batch.market_book import PartitionState
from matching.worker import metrics
from matching.worker.metrics import MarketMetrics
from orders.models import OrderEvent, OrderStatus, Reason

_REJECTED = OrderStatus.REJECTED.value
_CANCELLED = OrderStatus.CANCELLED.value
_EXPIRED = Reason.EXPIRED.value
_TRIGGERED = OrderEvent.Kind.TRIGGERED.value
# The reasons of cancels by a client or an operator, and of expiries. For other reasons the exchange
# itself cancels.
_COUNTED_REASONS = frozenset({"client_request", "operator", "cancel_after", "disconnected", _EXPIRED})


class BatchCounter:
    """Counts for one partition. Instruments are added when they first appear."""

    def __init__(self, partition: int) -> None:
        self._partition = partition
        self._metrics: dict[str, MarketMetrics] = {}

    def report_state(self, state: PartitionState) -> None:
        """Set the gauges of resting and waiting orders, and of commands. Called at each heartbeat."""
        metrics.deferred.labels(str(self._partition)).set(len(state.deferred))
        for symbol, market in state.books.items():
            gauges = self._metrics_of(symbol)
            gauges.resting.set(len(market.book))
            gauges.waiting.set(market.book.waiting_count)

    def count(self, batch: Batch) -> None:
        """Count a committed batch."""
        metrics.batch_size.observe(batch.commands)
        accepted = Tally([order.instrument.symbol for order in batch.orders.values()])
        rejected = [order.instrument.symbol for order in batch.orders.values() if order.status == _REJECTED]
        for symbol, number in Tally(rejected).items():
            accepted[symbol] -= number
            self._metrics_of(symbol).rejected.inc(number)
        for symbol, number in accepted.items():
            if number:
                self._metrics_of(symbol).accepted.inc(number)
        for symbol, number in Tally([trade.instrument.symbol for trade in batch.trades]).items():
            self._metrics_of(symbol).matched.inc(number)
        cancelled = Tally(
            [
                (changed.instrument.symbol, changed.reason == _EXPIRED)
                for rows in (batch.orders, batch.changes)
                for changed in rows.values()
                if changed.status == _CANCELLED and changed.reason in _COUNTED_REASONS
            ]
        )
        for (symbol, has_expired), number in cancelled.items():
            counters = self._metrics_of(symbol)
            (counters.expired if has_expired else counters.cancelled).inc(number)
        triggered = [row.instrument.symbol for row in batch.event_rows if row.kind == _TRIGGERED]
        for symbol, number in Tally(triggered).items():
            self._metrics_of(symbol).triggered.inc(number)

    def _metrics_of(self, symbol: str) -> MarketMetrics:
        found = self._metrics.get(symbol)
        if found is None:
            found = self._metrics[symbol] = MarketMetrics(self._partition, symbol)
        return found
