"""Exact conversion between decimals and text."""

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from base.numbers import (
    DIGITS_MAX,
    average_text,
    decimal_text,
    json_decimal,
    parse_decimal,
    percent,
    units_text,
)

prices = st.decimals(min_value=0, max_value=10**15, places=12, allow_nan=False, allow_infinity=False)


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ("70150.5", "70150.5"),
        ("0.10", "0.1"),
        ("1e-8", "0.00000001"),
        ("1E3", "1000"),
        (7, "7"),
        (-7, "-7"),
        (Decimal("0.00000001"), "0.00000001"),
        ("0" * 40 + "1", "1"),
    ],
)
def test_numbers_and_strings_are_read_exactly(value: object, number: str) -> None:
    assert parse_decimal(value) == Decimal(number)


@pytest.mark.parametrize(
    "value",
    [
        "",
        " 1",
        "1 ",
        "1_000",
        "1,5",
        "0x10",
        "\u0661",  # the Arabic digit one
        "NaN",
        "Infinity",
        "-Infinity",
        "sNaN",
        "1e999999999",
        "1e-999999999",
        "9" * 61,
        Decimal("NaN"),
        Decimal("1e31"),
        10**31,
        1.5,
        True,
        None,
        [],
        {},
    ],
)
def test_an_invalid_or_oversized_number_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"number"):
        parse_decimal(value)


@given(prices)
def test_the_text_of_a_number_is_read_back_exactly(number: Decimal) -> None:
    text = decimal_text(number)
    assert parse_decimal(text) == number
    assert "e" not in text.lower()
    assert text == "0" or not text.startswith(".")
    assert not ("." in text and text.endswith(("0", ".")))


@given(prices)
def test_json_has_the_same_digits_as_the_text(number: Decimal) -> None:
    encoded = msgspec.json.encode({"price": json_decimal(number)})
    assert encoded == f'{{"price":{decimal_text(number)}}}'.encode()
    assert msgspec.json.decode(encoded, type=dict[str, Decimal])["price"] == number


@pytest.mark.parametrize(("text", "plain"), [("-0", "0"), ("0E-12", "0"), ("1E+3", "1000"), ("100", "100")])
def test_text_has_plain_notation(text: str, plain: str) -> None:
    assert decimal_text(Decimal(text)) == plain


@given(st.integers(min_value=0, max_value=2**70), st.integers(min_value=0, max_value=24))
def test_units_are_written_with_their_decimals(units: int, scale: int) -> None:
    assert units_text(units, scale) == decimal_text(Decimal(units).scaleb(-scale))


@pytest.mark.parametrize(
    ("notional", "quantity", "average"),
    [
        ("1", "3", "0.333333333333"),
        ("2", "3", "0.666666666667"),
        ("0.0000000000005", "1", "0"),  # half is rounded to even: down
        ("0.0000000000015", "1", "0.000000000002"),  # and here up
        ("140301", "2", "70150.5"),
    ],
)
def test_an_average_has_twelve_decimals(notional: str, quantity: str, average: str) -> None:
    assert average_text(Decimal(notional), Decimal(quantity)) == average


@pytest.mark.parametrize(
    ("part", "whole", "share"),
    [
        ("1", "3", "33.3333"),
        ("-2", "3", "-66.6667"),
        ("0.0000005", "1", "0"),  # half is rounded to even: 0.00005 % down
        ("0.0000015", "1", "0.0002"),  # and here up
        ("99999999999999999.999999999999", "0.000000000001", "9999999999999999999999999999900"),
    ],
)
def test_a_percentage_has_four_decimals(part: str, whole: str, share: str) -> None:
    assert decimal_text(percent(Decimal(part), Decimal(whole))) == share


def test_the_widest_number_is_accepted() -> None:
    widest = Decimal("9" * DIGITS_MAX + "." + "9" * DIGITS_MAX)
    assert parse_decimal(widest) == widest
