"""Orders and trades.

Only the matching worker writes these tables, thousands of rows a second. Each index therefore names
the query that needs it. The database does not check references between rows, because the worker
only refers to rows that it has loaded or written. The command `prune` deletes rows.
"""

from decimal import Decimal

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.db.models.lookups import Exact, In, IsNull

from instruments.choices import LIMIT_TYPES, TRIGGER_TYPES, OrderType, SelfTradePrevention, TimeInForce
from instruments.grid import DECIMALS_MAX
from instruments.models import ExactField, Instrument

_IMMEDIATE_TYPES = [order_type for order_type in OrderType if order_type not in TRIGGER_TYPES]


class OrderSide(models.TextChoices):
    BUY = "buy"
    SELL = "sell"


class OrderStatus(models.TextChoices):
    PENDING = "pending"
    OPEN = "open"
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    CANCELLED = "cancelled"
    REJECTED = "rejected"


RESTING_STATUSES = (OrderStatus.OPEN, OrderStatus.PARTIALLY_FILLED)
LIVE_STATUSES = (OrderStatus.PENDING, *RESTING_STATUSES)
"""The statuses of orders that may still change."""
FINISHED_STATUSES = (OrderStatus.FILLED, OrderStatus.CANCELLED, OrderStatus.REJECTED)


class Reason(models.TextChoices):
    """Why an order was cancelled or rejected."""

    CLIENT_REQUEST = "client_request"
    OPERATOR = "operator"
    EXPIRED = "expired"
    CANCEL_AFTER = "cancel_after"
    DISCONNECTED = "disconnected"
    NO_LIQUIDITY = "no_liquidity"
    UNFILLED_IOC = "unfilled_ioc"
    UNFILLED_FOK = "unfilled_fok"
    SELF_TRADE = "self_trade"
    TOO_MANY_TRADES = "too_many_trades"
    TOO_MANY_ORDERS = "too_many_orders"
    TOO_MANY_LEVELS = "too_many_levels"
    INSTRUMENT_HALTED = "instrument_halted"
    WOULD_CROSS = "would_cross"
    WOULD_TRIGGER = "would_trigger"


class Order(models.Model):
    """An order, as of the matching worker's last commit."""

    order_id = models.UUIDField(primary_key=True, editable=False)  # a UUID of version 7
    client_id = models.CharField(max_length=64)
    instrument = models.ForeignKey(
        Instrument, on_delete=models.PROTECT, db_constraint=False, db_index=False, related_name="orders"
    )
    side = models.CharField(max_length=4, choices=OrderSide.choices)
    type = models.CharField(max_length=17, choices=OrderType.choices)
    price = ExactField(null=True)
    quantity = ExactField()
    filled_quantity = ExactField(default=Decimal(0))
    prevented_quantity = ExactField(
        default=Decimal(0), help_text="what self-trade prevention took off the order (decrement)"
    )
    filled_notional = models.DecimalField(
        max_digits=60,
        decimal_places=2 * DECIMALS_MAX,
        default=Decimal(0),
        help_text="the sum of price * quantity over the fills",
    )
    status = models.CharField(max_length=16, choices=OrderStatus.choices)
    reason = models.CharField(max_length=32, choices=Reason.choices, null=True)
    idempotency_key = models.CharField(max_length=255, null=True)
    time_in_force = models.CharField(max_length=3, choices=TimeInForce.choices, default=TimeInForce.GTC)
    expires_at = models.DateTimeField(null=True, help_text="of a gtd order")
    post_only = models.BooleanField(default=False)
    self_trade_prevention = models.CharField(
        max_length=12, choices=SelfTradePrevention.choices, default=SelfTradePrevention.NONE
    )
    trigger_price = ExactField(null=True)
    triggered_at = models.DateTimeField(null=True)
    priority = models.BigIntegerField(
        null=True,
        help_text="the book's sequence when the order came to rest or to wait, or was triggered: "
        "its time priority",
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
                & Q(prevented_quantity__gte=0)
                & Q(quantity__gte=F("filled_quantity") + F("prevented_quantity")),
            ),
            # PostgreSQL reads the text of each check again for every statement that writes, so a
            # short check counts. A comparison with NULL passes.
            models.CheckConstraint(
                name="order_prices_by_type",
                condition=Q(price__gt=0, trigger_price__gt=0)
                & Exact(In(F("type"), LIMIT_TYPES), IsNull(F("price"), False))
                & Exact(In(F("type"), _IMMEDIATE_TYPES), IsNull(F("trigger_price"), True)),
            ),
            models.CheckConstraint(
                name="order_status_matches_fills",
                condition=Exact(
                    Exact(F("status"), OrderStatus.FILLED), Exact(F("filled_quantity"), F("quantity"))
                )
                & (
                    Q(status__in=(OrderStatus.FILLED, OrderStatus.CANCELLED))
                    | Q(
                        status=OrderStatus.PARTIALLY_FILLED,
                        filled_quantity__gt=0,
                        quantity__gt=F("filled_quantity") + F("prevented_quantity"),
                    )
                    | Q(
                        status__in=(OrderStatus.PENDING, OrderStatus.OPEN, OrderStatus.REJECTED),
                        filled_quantity=0,
                    )
                ),
            ),
        ]
        indexes = [
            # For GET /orders and the stream's snapshots: one client's orders by instrument, status and
            # time. Equal times are stored once: those of the orders that one batch placed.
            models.Index(
                name="order_list_by_client", fields=["client_id", "instrument", "status", "created_at"]
            ),
            # For GET /orders without client_id: all clients' orders by instrument, status and time.
            # Recovery finds the waiting orders by it, and sorts them by their entry.
            models.Index(name="order_list", fields=["instrument", "status", "created_at"]),
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
    def remaining_quantity(self) -> Decimal:
        """What is neither filled nor taken off by self-trade prevention."""
        remaining: Decimal = self.quantity - self.filled_quantity - self.prevented_quantity
        return remaining

    @property
    def is_live(self) -> bool:
        """Whether the order rests or waits, so that it may still change."""
        return self.status in LIVE_STATUSES


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
    maker_client_id = models.CharField(max_length=64)
    taker_client_id = models.CharField(max_length=64)
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
            # For GET /fills of an order, and for the trades in an order: see orders/fills.py.
            models.Index(name="trade_by_maker", fields=["maker_order", "timestamp"]),
            models.Index(name="trade_by_taker", fields=["taker_order", "timestamp"]),
            # For GET /fills of a client. A trade has two clients, or one that traded with itself.
            models.Index(name="trade_by_maker_client", fields=["maker_client_id", "instrument", "timestamp"]),
            models.Index(name="trade_by_taker_client", fields=["taker_client_id", "instrument", "timestamp"]),
        ]

    def __str__(self) -> str:
        return str(self.trade_id)


class OrderEvent(models.Model):
    """A change of an order that its own row no longer shows, because later changes overwrite it.

    Each has a number of the book's sequence. With trades, orders that came to rest or to wait, and
    cancels, these rows explain every number. `price`, `quantity` and `trigger_price` are the
    order's before the event. A prevented match has one row, which names both orders.
    """

    class Kind(models.TextChoices):
        WITHDRAWN = "withdrawn", "taken off by an amend, to enter again"
        REDUCED = "reduced", "reduced by an amend, in its place"
        AMENDED = "amended", "amended while it waited"
        TRIGGERED = "triggered", "triggered by a trade"
        PREVENTED = "prevented", "reduced by self-trade prevention"

    instrument = models.ForeignKey(
        Instrument, on_delete=models.PROTECT, db_constraint=False, db_index=False, related_name="+"
    )
    sequence = models.BigIntegerField()
    order = models.ForeignKey(
        Order, on_delete=models.PROTECT, db_constraint=False, db_index=False, related_name="events"
    )
    kind = models.CharField(max_length=9, choices=Kind.choices)
    priority = models.BigIntegerField(null=True, help_text="the order's priority before the event")
    price = ExactField(null=True)
    quantity = ExactField()
    trigger_price = ExactField(null=True)
    taker_order = models.ForeignKey(
        Order,
        on_delete=models.PROTECT,
        db_constraint=False,
        db_index=False,
        related_name="prevented_events",
        null=True,
        help_text="of a prevented match: the order that came in",
    )
    prevented_quantity = ExactField(null=True, help_text="what self-trade prevention took off both orders")
    timestamp = models.DateTimeField()

    class Meta:
        ordering = ["instrument", "-sequence"]
        constraints = [
            # For the audit and the command prune, in order of sequence.
            models.UniqueConstraint(name="order_event_sequence", fields=["instrument", "sequence"]),
        ]
        indexes = [
            # The admin shows an order's events.
            models.Index(name="order_event_by_order", fields=["order"]),
            models.Index(
                name="order_event_by_taker",
                fields=["taker_order"],
                condition=Q(taker_order__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} of order {self.order_id}"


class CancelAfter(models.Model):
    """A client's dead man's switch on one partition. When it runs out, its orders are cancelled."""

    partition = models.PositiveSmallIntegerField()
    client_id = models.CharField(max_length=64)
    cancel_at = models.DateTimeField()

    class Meta:
        verbose_name = "dead man's switch"
        verbose_name_plural = "dead man's switches"
        constraints = [
            models.UniqueConstraint(name="cancel_after_of_client", fields=["partition", "client_id"]),
        ]

    def __str__(self) -> str:
        return f"{self.client_id} at {self.cancel_at}"


class ConnectionGuard(models.Model):
    """The guard of a connection to /stream on one partition.

    When the connection ends, the orders of these clients are cancelled.
    """

    partition = models.PositiveSmallIntegerField()
    connection_id = models.UUIDField()
    process_id = models.CharField(max_length=32, help_text="of the API process that has the connection")
    client_ids = ArrayField(models.CharField(max_length=64), default=list)

    class Meta:
        constraints = [
            models.UniqueConstraint(name="guard_of_connection", fields=["partition", "connection_id"]),
        ]

    def __str__(self) -> str:
        return f"{self.connection_id} of {', '.join(self.client_ids)}"
