"""Counts committed orders, trades and cancels in the metrics, by instrument.

Each increment of a metric writes to a file, so the counts of a batch are added up first.
"""

from collections import Counter as Tally
from collections.abc import Mapping

from matching.batch.batch import Batch
from matching.batch.market_book import MarketBook
from matching.worker import metrics
from matching.worker.metrics import MarketMetrics
from orders.models import OrderStatus

_REJECTED = OrderStatus.REJECTED.value
_CANCELLED = OrderStatus.CANCELLED.value
# The reasons of cancels by a client or an operator. For other reasons the exchange itself cancels.
_TAKEN_OFF = frozenset({"client_request", "operator", "cancel_after", "disconnected"})


class BatchCounter:
    """Counts for one partition. Instruments are added when they first appear."""

    def __init__(self, partition: int) -> None:
        self._partition = partition
        self._metrics: dict[str, MarketMetrics] = {}

    def report_resting_orders(self, books: Mapping[str, MarketBook]) -> None:
        """Set the gauge of resting orders for each book. Called at each heartbeat."""
        for symbol, market in books.items():
            self._metrics_of(symbol).resting.set(len(market.book))

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
                changed.instrument.symbol
                for rows in (batch.orders, batch.changes)
                for changed in rows.values()
                if changed.status == _CANCELLED and changed.reason in _TAKEN_OFF
            ]
        )
        for symbol, number in cancelled.items():
            self._metrics_of(symbol).cancelled.inc(number)

    def _metrics_of(self, symbol: str) -> MarketMetrics:
        found = self._metrics.get(symbol)
        if found is None:
            found = self._metrics[symbol] = MarketMetrics(self._partition, symbol)
        return found
