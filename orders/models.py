"""Instruments and orders.

Only the matching worker writes orders. The table is written thousands of times a second: each index names the
query that needs it, and references to instruments are not checked by the database on each insert, because
one writer takes them from the instruments it has loaded.
"""

from decimal import Decimal

from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import F, Q

from orders.grid import DECIMALS_MAX, Grid
from rest.numbers import EXACT

STEPS_MAX = 2**53  # exact in a Redis sorted set's score, and far inside a 64-bit integer

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
    INSTRUMENT_HALTED = "instrument_halted"


class Instrument(models.Model):
    """Something that is traded: its grid, its limits, and whether it takes orders."""

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
        ]

    def __str__(self) -> str:
        return self.symbol

    @property
    def grid(self) -> Grid:
        return Grid.of(self.tick_size, self.lot_size)

    def clean(self) -> None:
        """Limits must lie on the grid, and few enough steps apart to stay exact everywhere."""
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
        if errors:
            raise ValidationError(errors)


def _is_whole_steps(limit: Decimal, step: Decimal) -> bool:
    steps, rest = EXACT.divmod(limit, step)
    return not rest and steps <= STEPS_MAX


class Order(models.Model):
    """An order as the matching worker left it at its last commit."""

    order_id = models.UUIDField(primary_key=True, editable=False)  # version 7: newest last
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
                name="order_idempotency_key",  # the authority on idempotency
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
            # GET /orders?client_id=: one client's orders, newest first
            models.Index(name="order_by_client", fields=["client_id", "-order_id"]),
            # recovery, and the book when Redis is away: resting orders in time priority
            models.Index(
                name="order_resting",
                fields=["instrument", "priority"],
                condition=Q(status__in=RESTING_STATUSES),
            ),
            # GET /orders?client_id=&status=open: a client's resting orders, newest first
            models.Index(
                name="order_resting_by_client",
                fields=["client_id", "-order_id"],
                condition=Q(status__in=RESTING_STATUSES),
            ),
        ]

    def __str__(self) -> str:
        return str(self.order_id)

    @property
    def is_resting(self) -> bool:
        return self.status in RESTING_STATUSES
