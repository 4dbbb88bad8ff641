"""Instruments and orders.

Only the matching worker writes orders, thousands of rows a second. Each index therefore names the
query that needs it. The database does not check an order's reference to its instrument, because the
worker takes it from the instruments that it has loaded.
"""

from decimal import Decimal

from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator, RegexValidator
from django.db import models
from django.db.models import F, Q

from base.numbers import EXACT, decimal_text
from orders.grid import DECIMALS_MAX, Grid

PARTITION_MAX = 32_767  # the greatest value of a PositiveSmallIntegerField
STEPS_MAX = 2**53  # exact as a score in a Redis sorted set, and far below 2**63

OPEN_ORDERS_MAX = 10_000  # default limit for one client in one order book

SYMBOL_PATTERN = r"^[A-Z0-9]{1,10}-[A-Z0-9]{1,10}$"


class ExactField(models.DecimalField):  # type: ignore[type-arg]
    """A price or a quantity: 18 digits before the point and 12 after it."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        kwargs.setdefault("max_digits", 30)
        kwargs.setdefault("decimal_places", DECIMALS_MAX)
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]


class Side(models.TextChoices):
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


class Instrument(models.Model):
    """A traded instrument: its grid, its limits, and whether trading is halted."""

    class Status(models.TextChoices):
        ACTIVE = "active"
        HALTED = "halted"

    symbol = models.CharField(
        max_length=21, unique=True, validators=[RegexValidator(SYMBOL_PATTERN)], help_text="BASE-QUOTE"
    )
    tick_size = ExactField(help_text="the least step between two prices")
    lot_size = ExactField(help_text="the least step between two quantities")
    min_quantity = ExactField()
    max_quantity = ExactField()
    min_price = ExactField()
    max_price = ExactField()
    min_notional = ExactField(
        null=True,
        blank=True,
        help_text="the least price * quantity of a limit order; empty: any",
    )
    # The default is also in the database, for rows that are inserted without this column.
    open_orders_max = models.PositiveIntegerField(
        default=OPEN_ORDERS_MAX,
        db_default=OPEN_ORDERS_MAX,
        validators=[MinValueValidator(1)],
        help_text="orders that one client may have in the book; further limit orders are rejected",
    )
    status = models.CharField(max_length=6, choices=Status.choices, default=Status.ACTIVE)
    partition = models.PositiveSmallIntegerField(
        default=0, help_text="the stream and the matching worker that this instrument belongs to"
    )

    class Meta:
        ordering = ["symbol"]
        constraints = [
            models.CheckConstraint(
                name="instrument_steps_positive", condition=Q(tick_size__gt=0) & Q(lot_size__gt=0)
            ),
            models.CheckConstraint(
                name="instrument_limits_ordered",
                condition=Q(min_quantity__gt=0)
                & Q(max_quantity__gte=F("min_quantity"))
                & Q(min_price__gt=0)
                & Q(max_price__gte=F("min_price")),
            ),
            models.CheckConstraint(
                name="instrument_bounds_positive",
                condition=Q(open_orders_max__gte=1) & (Q(min_notional__isnull=True) | Q(min_notional__gt=0)),
            ),
        ]

    def __str__(self) -> str:
        return self.symbol

    @property
    def grid(self) -> Grid:
        return Grid.of(self.tick_size, self.lot_size)

    def clean(self) -> None:
        """Check that all limits are on the grid and have at most STEPS_MAX steps."""
        errors: dict[str, str] = {}
        for step_name, names in (
            ("tick_size", ("min_price", "max_price")),
            ("lot_size", ("min_quantity", "max_quantity")),
        ):
            step: Decimal | None = getattr(self, step_name)
            for name in names:
                limit: Decimal | None = getattr(self, name)
                if step and limit and not _is_whole_steps(limit, step):
                    errors[name] = f"Must be a multiple of {step_name}, at most {STEPS_MAX} steps."
        if self.min_notional is not None and self.min_notional <= 0:
            errors["min_notional"] = "Must be above zero. Leave it empty if any notional will do."
        elif self.min_notional and self.max_price and self.max_quantity:
            largest = EXACT.multiply(self.max_price, self.max_quantity)
            if self.min_notional > largest:
                errors["min_notional"] = f"Must be at most max_price * max_quantity, {decimal_text(largest)}."
        if errors:
            raise ValidationError(errors)


def _is_whole_steps(limit: Decimal, step: Decimal) -> bool:
    steps, rest = EXACT.divmod(limit, step)
    return not rest and steps <= STEPS_MAX


class Order(models.Model):
    """An order, as of the matching worker's last commit."""

    order_id = models.UUIDField(primary_key=True, editable=False)  # a UUID of version 7
    client_id = models.CharField(max_length=64)
    instrument = models.ForeignKey(
        Instrument, on_delete=models.PROTECT, db_constraint=False, db_index=False, related_name="orders"
    )
    side = models.CharField(max_length=4, choices=Side.choices)
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
            # status. The order is ascending because PostgreSQL fills index pages only if new
            # entries are added at the end.
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
