"""One-minute candles, and the sequence of each book.

Only the matching worker writes these tables, in the transaction that also writes the orders.
"""

from django.db import models
from django.db.models import F, Q

from instruments.grid import DECIMALS_MAX
from instruments.models import ExactField, Instrument


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
