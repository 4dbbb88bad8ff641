"""Trades, one-minute candles, and the sequence of each book.

Only the matching worker writes these tables, in the transaction that also writes the orders. The
command `prune` deletes trades and writes PrunedHistory.
"""

from django.db import models
from django.db.models import F, Q

from orders.grid import DECIMALS_MAX
from orders.models import ExactField, Instrument, Order, Side


class Trade(models.Model):
    """A trade of two orders, at the maker's price."""

    trade_id = models.UUIDField(primary_key=True, editable=False)
    instrument = models.ForeignKey(
        Instrument, on_delete=models.PROTECT, db_constraint=False, db_index=False, related_name="trades"
    )
    sequence = models.BigIntegerField(
        help_text="the book's sequence: per instrument, unique, in order of trading"
    )
    price = ExactField()
    quantity = ExactField()
    taker_side = models.CharField(max_length=4, choices=Side.choices)
    maker_order = models.ForeignKey(
        Order, on_delete=models.PROTECT, db_constraint=False, db_index=False, related_name="maker_trades"
    )
    taker_order = models.ForeignKey(
        Order, on_delete=models.PROTECT, db_constraint=False, db_index=False, related_name="taker_trades"
    )
    timestamp = models.DateTimeField()

    class Meta:
        ordering = ["-timestamp", "-sequence"]
        constraints = [
            # GET /trades lists one instrument's trades, newest first. A sequence is used only once.
            models.UniqueConstraint(name="trade_sequence", fields=["instrument", "sequence"]),
            models.CheckConstraint(
                name="trade_price_and_quantity_positive", condition=Q(price__gt=0) & Q(quantity__gt=0)
            ),
            models.CheckConstraint(name="trade_of_two_orders", condition=~Q(maker_order=F("taker_order"))),
        ]
        indexes = [
            # GET /orders/{order_id} shows an order's trades.
            models.Index(name="trade_by_maker", fields=["maker_order"]),
            models.Index(name="trade_by_taker", fields=["taker_order"]),
        ]

    def __str__(self) -> str:
        return str(self.trade_id)


class Candle(models.Model):
    """One minute of trading in an instrument. Minutes without a trade have no candle."""

    instrument = models.ForeignKey(
        Instrument, on_delete=models.PROTECT, db_constraint=False, db_index=False, related_name="candles"
    )
    time = models.DateTimeField(help_text="the start of the minute")
    open = ExactField()
    high = ExactField()
    low = ExactField()
    close = ExactField()
    volume = models.DecimalField(max_digits=40, decimal_places=DECIMALS_MAX)
    notional = models.DecimalField(max_digits=60, decimal_places=2 * DECIMALS_MAX)
    trade_count = models.BigIntegerField()

    class Meta:
        ordering = ["-time"]
        constraints = [
            # GET /candles, and the update of the current minute, find rows by this key.
            models.UniqueConstraint(name="candle_minute", fields=["instrument", "time"]),
            models.CheckConstraint(
                name="candle_prices_ordered",
                condition=Q(low__gt=0)
                & Q(low__lte=F("open"))
                & Q(low__lte=F("close"))
                & Q(high__gte=F("open"))
                & Q(high__gte=F("close"))
                & Q(volume__gt=0)
                & Q(trade_count__gt=0),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.instrument} {self.time:%Y-%m-%d %H:%M}"


class BookSequence(models.Model):
    """The sequence of each book at its worker's last commit."""

    instrument = models.OneToOneField(
        Instrument, on_delete=models.PROTECT, primary_key=True, related_name="book_sequence"
    )
    sequence = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.instrument} at {self.sequence}"


class PrunedHistory(models.Model):
    """The sequence and time up to which `prune` may have deleted orders and trades."""

    instrument = models.OneToOneField(
        Instrument, on_delete=models.PROTECT, primary_key=True, related_name="pruned_history"
    )
    sequence = models.BigIntegerField(help_text="the greatest sequence of a deleted order")
    time = models.DateTimeField(help_text="the latest change of a deleted order")

    class Meta:
        verbose_name_plural = "pruned history"

    def __str__(self) -> str:
        return f"{self.instrument} up to {self.sequence}"
