"""An order's average price, with and without the shortcut for fills at the order's own price."""

from decimal import Decimal
from random import Random

import pytest

from base.numbers import average_text
from orders.documents import average_price


def test_an_order_filled_at_its_own_price_has_that_average_price() -> None:
    random = Random(7)
    for _ in range(2_000):
        price = Decimal(random.randint(1, 10**12)).scaleb(-random.randint(0, 12))
        quantity = Decimal(random.randint(1, 10**15)).scaleb(-random.randint(0, 12))
        with_zeros = price.quantize(Decimal(1).scaleb(-12))
        average = average_price(price * quantity, quantity, with_zeros)
        assert average is not None
        assert bytes(average).decode() == average_text(price * quantity, quantity)


@pytest.mark.parametrize("price", [None, Decimal(101), Decimal("100.5")])
def test_an_average_price_is_notional_divided_by_quantity(price: Decimal | None) -> None:
    average = average_price(Decimal(301), Decimal(3), price)  # three fills at 100, 101 and 100
    assert average is not None
    assert bytes(average) == b"100.333333333333"


def test_an_unfilled_order_has_no_average_price() -> None:
    assert average_price(Decimal(0), Decimal(0), Decimal(100)) is None
