"""The fields of requests: which JSON values they take, and what they make of them."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from web.fields import BooleanField, InputField, ListField, TimeField, WholeNumberField

NOON = datetime(2026, 12, 31, 12, tzinfo=UTC)
LIST = ListField(WholeNumberField(5), 3, "One to three numbers.")
TAKEN: list[tuple[InputField, Any, Any]] = [
    (BooleanField(), True, True),
    (BooleanField(), False, False),
    (WholeNumberField(60), 0, 0),
    (WholeNumberField(60), 60, 60),
    (TimeField({}), "2026-12-31T12:00:00Z", NOON),
    (TimeField({}), "2026-12-31t12:00:00z", NOON),
    (TimeField({}), "2026-12-31T13:30:00+01:30", NOON),
    (TimeField({}), "2026-12-31T12:00:00.1Z", NOON.replace(microsecond=100_000)),
    (TimeField({}), "2026-12-31T12:00:00.123000000Z", NOON.replace(microsecond=123_000)),
    (LIST, [1], [1]),
    (LIST, [1, 2, 5], [1, 2, 5]),
]
REFUSED: list[tuple[InputField, list[Any]]] = [
    (BooleanField(), [0, 1, "true", "", [], {}, Decimal(1)]),
    (WholeNumberField(60), [-1, 61, True, "5", Decimal("5.0"), Decimal("1E+1"), [], {}, 10**30]),
    (
        TimeField({}),
        [
            *(0, 1798718400000, True, [], {}, "", "now", "2026-12-31", "2026-12-31T12:00:00"),
            *("2026-12-31T12:00Z", "2026-12-31 12:00:00Z", "2026-12-31T12:00:00 Z", "2026-12-31T12:00:00.Z"),
            *("2026-12-31T12:00:00.0001Z", "2026-12-31T12:00:00.123456Z", "2026-12-31T12:00:00.1230001Z"),
            *("2026-13-31T12:00:00Z", "2026-02-30T12:00:00Z", "2026-12-31T12:60:00Z"),
            *("2026-12-31T12:00:61Z", "2026-12-31T12:00:00+24:00", "2026-12-31T12:00:00+0100"),
            *("0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00", "\u0662026-12-31T12:00:00Z"),
        ],
    ),
    (LIST, [[], [1, 2, 3, 4], "1", {"0": 1}, 1, True, [6], [1, "2"], [[1]], [None]]),
]


@pytest.mark.parametrize(("field", "value", "expected"), TAKEN)
def test_valid_values_are_taken(field: InputField, value: Any, expected: Any) -> None:
    assert field.to_internal_value(value) == expected


@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field, values in REFUSED for value in (None, *values)]
)
def test_other_values_are_refused(field: InputField, value: Any) -> None:
    with pytest.raises(ValueError, match=r"\.$"):
        field.to_internal_value(value)
