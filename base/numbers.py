"""Reads and writes exact decimals. Floats are never used.

Numbers are written as plain decimals without exponent or trailing zeros: 70150.5, 0.1, 0.00000001.
"""

import functools
import re
from decimal import ROUND_HALF_EVEN, Context, Decimal, Inexact, InvalidOperation, Overflow

from msgspec import Raw

from base.documents import Number

# A number in a request may have at most this many digits before and after the point. Longer numbers
# are refused before any arithmetic, so that 1e999999999 costs nothing.
DIGITS_MAX = 30
_PLAIN = re.compile(rf"[0-9]{{1,{DIGITS_MAX}}}(?:\.[0-9]{{1,{DIGITS_MAX}}})?")

# The number of cached texts. Prices near the market and common quantities occur again and again.
UNITS_REMEMBERED_MAX = 10_000

EXACT = Context(prec=120, traps=[Inexact, InvalidOperation, Overflow])
_ROUNDING = Context(prec=120, rounding=ROUND_HALF_EVEN)
_AVERAGE_DECIMALS = 12
_PERCENT_QUANTUM = Decimal(1).scaleb(-4)


def parse_decimal(value: object) -> Decimal:
    """Return the finite decimal in a JSON number or a string.

    Raises ValueError with a message for the client.
    """
    if isinstance(value, str):
        if _PLAIN.fullmatch(value):  # a shortcut for most numbers: they pass all checks below
            return Decimal(value)
        if not value.isascii() or len(value) > 2 * DIGITS_MAX or "_" in value or value != value.strip():
            raise ValueError("A valid number is required.")
        try:
            number = Decimal(value)
        except InvalidOperation:
            raise ValueError("A valid number is required.") from None
    elif isinstance(value, Decimal):
        number = value
    elif isinstance(value, int) and not isinstance(value, bool):
        number = Decimal(value)
    else:
        raise ValueError("A valid number is required.")
    if not number.is_finite():
        raise ValueError("A valid number is required.")
    if abs(number.adjusted()) > DIGITS_MAX or len(number.as_tuple().digits) > 2 * DIGITS_MAX:
        raise ValueError(f"A number may have at most {DIGITS_MAX} digits before and after the point.")
    return number


def decimal_text(value: Decimal) -> str:
    """Return a decimal in plain notation, without trailing zeros after the point."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


@functools.lru_cache(UNITS_REMEMBERED_MAX)
def units_number(units: int, scale: int) -> Number:
    """Return `units` * 10**-scale as a JSON number; units >= 0."""
    return json_number(units_text(units, scale))


def uncached_units_text(units: int, scale: int) -> str:
    """Return `units` * 10**-scale as text; units >= 0."""
    text = str(units)
    if scale == 0:
        return text
    if len(text) <= scale:
        text = text.zfill(scale + 1)
    return f"{text[:-scale]}.{text[-scale:]}".rstrip("0").rstrip(".")


@functools.lru_cache(UNITS_REMEMBERED_MAX)
def units_text(units: int, scale: int) -> str:
    """Like `uncached_units_text`, for values that occur again, such as prices and quantities."""
    return uncached_units_text(units, scale)


def average_text(notional: Decimal, quantity: Decimal) -> str:
    """Return notional / quantity, rounded half-even to 12 decimals; notional >= 0, quantity > 0."""
    notional_units, notional_unit = notional.as_integer_ratio()
    quantity_units, quantity_unit = quantity.as_integer_ratio()
    return ratio_text(notional_units * quantity_unit, quantity_units * notional_unit)


def ratio_text(numerator: int, denominator: int) -> str:
    """Return a ratio, rounded half-even to 12 decimals; numerator >= 0, denominator > 0."""
    units, rest = divmod(numerator * 10**_AVERAGE_DECIMALS, denominator)
    if 2 * rest > denominator or (2 * rest == denominator and units % 2):
        units += 1
    return uncached_units_text(units, _AVERAGE_DECIMALS)


def percent(part: Decimal, whole: Decimal) -> Decimal:
    """Return part / whole * 100, rounded half-even to 4 decimals; whole > 0."""
    hundredfold = _ROUNDING.multiply(part, Decimal(100))
    return _ROUNDING.quantize(_ROUNDING.divide(hundredfold, whole), _PERCENT_QUANTUM)


def json_number(text: str) -> Number:
    """Return a decimal's text as a JSON number, digit for digit."""
    return Raw(text.encode())


@functools.lru_cache(UNITS_REMEMBERED_MAX)
def json_decimal(value: Decimal) -> Number:
    return json_number(decimal_text(value))


def json_optional_decimal(value: Decimal | None) -> Number | None:
    return None if value is None else json_decimal(value)
