"""Conversion of decimals to ticks and lots and back, on every grid, without rounding."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from base.numbers import average_text
from instruments.grid import Grid, OffGrid, Scale

sizes = st.builds(
    lambda units, decimals: Decimal(units).scaleb(-decimals),
    st.integers(min_value=1, max_value=10_000),
    st.integers(min_value=0, max_value=12),
)
steps = st.integers(min_value=0, max_value=2**53)


@given(sizes, steps)
def test_every_step_converts_to_text_and_back(size: Decimal, count: int) -> None:
    scale = Scale.of(size)
    text = scale.text(count)
    assert Decimal(text) == size * count
    assert scale.steps(Decimal(text)) == count


@given(sizes, steps, st.integers(min_value=1, max_value=10_000))
def test_a_number_between_two_steps_is_refused(size: Decimal, count: int, part: int) -> None:
    between = size * count + size * Decimal(part) / Decimal(10_001)
    with pytest.raises(OffGrid, match="multiple of"):
        Scale.of(size).steps(between)


@given(sizes, sizes, steps, steps)
def test_a_notional_is_price_times_quantity(tick: Decimal, lot: Decimal, ticks: int, lots: int) -> None:
    grid = Grid.of(tick, lot)
    price, quantity = Decimal(grid.price.text(ticks)), Decimal(grid.quantity.text(lots))
    exact = price.as_integer_ratio()[0] * quantity.as_integer_ratio()[0]
    notional = Decimal(grid.notional_text(ticks * lots))
    numerator, denominator = notional.as_integer_ratio()
    divisor = price.as_integer_ratio()[1] * quantity.as_integer_ratio()[1]
    assert numerator * divisor == exact * denominator


@given(sizes, sizes, steps, st.integers(min_value=1, max_value=10**12))
def test_an_average_price_equals_that_of_the_decimals(
    tick: Decimal, lot: Decimal, tick_lots: int, lots: int
) -> None:
    grid = Grid.of(tick, lot)
    decimals = Decimal(grid.notional_text(tick_lots)), Decimal(grid.quantity.text(lots))
    assert bytes(grid.average_price(tick_lots, lots)).decode() == average_text(*decimals)


@pytest.mark.parametrize("size", ["0", "-1", "0.0000000000001"])
def test_an_invalid_step_size_is_refused(size: str) -> None:
    with pytest.raises(ValueError, match="step size"):
        Scale.of(Decimal(size))


def test_a_size_with_trailing_zeros_is_the_same_size() -> None:
    """PostgreSQL returns sizes with trailing zeros."""
    scale = Scale.of(Decimal("0.050000000000"))
    assert (scale.units_per_step, scale.decimals) == (5, 2)
    assert Scale.of(Decimal("1E+3")).text(7) == "7000"
