"""Orders and trades.

Only the matching worker writes these tables, thousands of rows a second. Each index therefore names
the query that needs it. The database does not check references between rows, because the worker
only refers to rows that it has loaded or written. The command `prune` deletes rows.
"""

from decimal import Decimal

from django.db import models
from django.db.models import F, Q

from instruments.grid import DECIMALS_MAX
from instruments.models import ExactField, Instrument


class OrderSide(models.TextChoices):
    BUY = "buy"
    SELL = "sell"


class OrderType(models.TextChoices):
    LIMIT = "limit"
    MARKET = "market"


class OrderStatus(models.TextChoices):
    OPEN = "open"
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    CANCELLED = "cancelled"
    REJECTED = "rejected"


RESTING_STATUSES = (OrderStatus.OPEN, OrderStatus.PARTIALLY_FILLED)


class Reason(models.TextChoices):
    """Why an order was cancelled or rejected."""

    CLIENT_REQUEST = "client_request"
    OPERATOR = "operator"
    NO_LIQUIDITY = "no_liquidity"
    TOO_MANY_TRADES = "too_many_trades"
    TOO_MANY_ORDERS = "too_many_orders"
    TOO_MANY_LEVELS = "too_many_levels"
    INSTRUMENT_HALTED = "instrument_halted"


class Order(models.Model):
    """An order, as of the matching worker's last commit."""

    order_id = models.UUIDField(primary_key=True, editable=False)  # a UUID of version 7
    client_id = models.CharField(max_length=64)
    instrument = models.ForeignKey(
        Instrument, on_delete=models.PROTECT, db_constraint=False, db_index=False, related_name="orders"
    )
    side = models.CharField(max_length=4, choices=OrderSide.choices)
    type = models.CharField(max_length=6, choices=OrderType.choices)
    price = ExactField(null=True)
    quantity = ExactField()
    filled_quantity = ExactField(default=Decimal(0))
    filled_notional = models.DecimalField(
        max_digits=60,
        decimal_places=2 * DECIMALS_MAX,
        default=Decimal(0),
        help_text="the sum of price * quantity over the fills",
    )
    status = models.CharField(max_length=16, choices=OrderStatus.choices)
    reason = models.CharField(max_length=32, choices=Reason.choices, null=True)
    idempotency_key = models.CharField(max_length=255, null=True)
    priority = models.BigIntegerField(
        null=True, help_text="the book's sequence when the order came to rest: its time priority"
    )
    sequence = models.BigIntegerField(help_text="the book's sequence at the order's last change")
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    terms = models.BigIntegerField(
        null=True, help_text="of an order with a key: the hash of its first request, see OrderRequest.terms"
    )

    class Meta:
        ordering = ["-order_id"]
        constraints = [
            models.UniqueConstraint(
                name="order_idempotency_key",  # guarantees that each key places one order only
                fields=["client_id", "idempotency_key"],
                condition=Q(idempotency_key__isnull=False),
            ),
            models.CheckConstraint(
                name="order_fills_within_quantity",
                condition=Q(quantity__gt=0)
                & Q(filled_quantity__gte=0)
                & Q(filled_quantity__lte=F("quantity")),
            ),
            models.CheckConstraint(
                name="order_price_by_type",
                condition=Q(type=OrderType.LIMIT, price__gt=0, price__isnull=False)
                | Q(type=OrderType.MARKET, price__isnull=True),
            ),
            models.CheckConstraint(
                name="order_status_matches_fills",
                condition=Q(status=OrderStatus.OPEN, filled_quantity=0)
                | Q(
                    status=OrderStatus.PARTIALLY_FILLED,
                    filled_quantity__gt=0,
                    filled_quantity__lt=F("quantity"),
                )
                | Q(status=OrderStatus.FILLED, filled_quantity=F("quantity"))
                | Q(status=OrderStatus.CANCELLED, filled_quantity__lt=F("quantity"))
                | Q(status=OrderStatus.REJECTED, filled_quantity=0),
            ),
        ]
        indexes = [
            # For GET /orders and the stream's snapshots: one client's orders by instrument and
            # status. The ids are ascending because PostgreSQL fills index pages only if new entries
            # are added at the end.
            models.Index(
                name="order_list_by_client", fields=["client_id", "instrument", "status", "order_id"]
            ),
            # For GET /orders without client_id: all clients' orders by instrument and status.
            models.Index(name="order_list", fields=["instrument", "status", "order_id"]),
            # For recovery, and for GET /orderbook while Redis is not answering: resting orders in
            # time priority.
            models.Index(
                name="order_resting",
                fields=["instrument", "priority"],
                condition=Q(status__in=RESTING_STATUSES),
            ),
        ]

    def __str__(self) -> str:
        return str(self.order_id)

    @property
    def is_resting(self) -> bool:
        return self.status in RESTING_STATUSES


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
    taker_side = models.CharField(max_length=4, choices=OrderSide.choices)
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
