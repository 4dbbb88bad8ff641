"""Converts decimals to ticks and lots, and back. No other module does this.

Inside the exchange, a price is a whole number of ticks and a quantity is a whole number of lots.
Values off the grid are refused and never rounded. Conversions are exact for all tick and lot sizes
with at most 12 decimals.
"""

from dataclasses import dataclass
from decimal import Decimal

from base.documents import Number
from base.numbers import (
    EXACT,
    decimal_text,
    json_number,
    ratio_text,
    uncached_units_text,
    units_number,
    units_text,
)

DECIMALS_MAX = 12


class OffGrid(ValueError):
    """A value is not a whole number of steps. The message is for the client."""


@dataclass(frozen=True, slots=True)
class Scale:
    """A step size, for example ticks of 0.05: `size` = units_per_step * 10**-decimals."""

    size: Decimal
    units_per_step: int
    decimals: int

    @classmethod
    def of(cls, size: Decimal) -> "Scale":
        """Return the scale of a step size.

        Raises ValueError if `size` is not above zero or has more than DECIMALS_MAX decimals.
        """
        if size <= 0 or EXACT.remainder(size, Decimal(1).scaleb(-DECIMALS_MAX)):
            raise ValueError(f"step size={size} must be above zero, with at most {DECIMALS_MAX} decimals")
        numerator, denominator = size.as_integer_ratio()
        decimals = next(count for count in range(DECIMALS_MAX + 1) if 10**count % denominator == 0)
        return cls(size=size, units_per_step=numerator * 10**decimals // denominator, decimals=decimals)

    def steps(self, value: Decimal) -> int:
        """Return the number of steps in `value`. Raises OffGrid if it is not a whole number."""
        steps, rest = EXACT.divmod(value, self.size)
        if rest:
            raise OffGrid(f"Must be a multiple of {decimal_text(self.size)}.")
        return int(steps)

    def text(self, steps: int) -> str:
        """Return a number of steps >= 0 as plain decimal text."""
        return units_text(steps * self.units_per_step, self.decimals)

    def number(self, steps: int) -> Number:
        """Return a number of steps >= 0 as a JSON number."""
        return units_number(steps * self.units_per_step, self.decimals)


@dataclass(frozen=True, slots=True)
class Grid:
    """The price and quantity scales of an instrument. The scale of a notional is their product."""

    price: Scale
    quantity: Scale

    @classmethod
    def of(cls, tick_size: Decimal, lot_size: Decimal) -> "Grid":
        return cls(price=Scale.of(tick_size), quantity=Scale.of(lot_size))

    def notional_text(self, tick_lots: int) -> str:
        """Return a sum of price_ticks * quantity_lots as plain decimal text."""
        units = tick_lots * self.price.units_per_step * self.quantity.units_per_step
        return uncached_units_text(units, self.price.decimals + self.quantity.decimals)

    def average_price(self, tick_lots: int, lots: int) -> Number:
        """Return an average price as a JSON number.

        `tick_lots` is a sum of price_ticks * quantity_lots, and `lots` > 0 the sum of the lots.
        """
        return json_number(ratio_text(tick_lots * self.price.units_per_step, lots * 10**self.price.decimals))
