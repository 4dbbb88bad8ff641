"""Instruments, and the columns for exact prices and quantities."""

from decimal import Decimal

from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator, RegexValidator
from django.db import models
from django.db.models import F, Q

from base.numbers import EXACT, decimal_text
from instruments.choices import SelfTradePrevention
from instruments.grid import DECIMALS_MAX, Grid

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
    # The default is also in the database, for the same reason.
    self_trade_prevention = models.CharField(
        max_length=12,
        choices=SelfTradePrevention.choices,
        default=SelfTradePrevention.NONE,
        db_default=SelfTradePrevention.NONE,
        help_text="for orders that do not say what happens if they meet an order of the same client",
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
            errors["min_notional"] = "Must be above zero. Leave it empty for no minimum."
        elif self.min_notional and self.max_price and self.max_quantity:
            largest = EXACT.multiply(self.max_price, self.max_quantity)
            if self.min_notional > largest:
                errors["min_notional"] = f"Must be at most max_price * max_quantity, {decimal_text(largest)}."
        if errors:
            raise ValidationError(errors)


def _is_whole_steps(limit: Decimal, step: Decimal) -> bool:
    steps, rest = EXACT.divmod(limit, step)
    return not rest and steps <= STEPS_MAX
