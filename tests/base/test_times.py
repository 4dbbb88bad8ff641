"""Conversion between times and the text of the API."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from base.times import parse_time, time_text, unix_milliseconds


@given(st.datetimes(min_value=datetime(1000, 1, 2), max_value=datetime(9999, 12, 30)))  # noqa: DTZ001
def test_a_time_is_read_back_to_the_millisecond(moment: datetime) -> None:
    moment = moment.replace(tzinfo=UTC)
    text = time_text(moment)
    assert len(text) == len("2026-01-31T12:00:00.123Z")
    assert timedelta(0) <= moment - parse_time(text) < timedelta(milliseconds=1)


@given(st.datetimes(min_value=datetime(1000, 1, 2), max_value=datetime(9999, 12, 30)))  # noqa: DTZ001
def test_text_and_milliseconds_are_the_same_moment(moment: datetime) -> None:
    moment = moment.replace(tzinfo=UTC)
    since_1970 = timedelta(milliseconds=unix_milliseconds(moment))
    assert datetime(1970, 1, 1, tzinfo=UTC) + since_1970 == parse_time(time_text(moment))


def test_milliseconds_are_counted_from_1970_utc() -> None:
    moment = datetime(2026, 1, 31, 13, 0, 0, 123_999, tzinfo=timezone(timedelta(hours=1)))
    assert unix_milliseconds(moment) == 1769860800123


def test_times_are_written_in_utc() -> None:
    moment = datetime(2026, 1, 31, 1, 0, tzinfo=timezone(timedelta(hours=2)))
    assert time_text(moment) == "2026-01-30T23:00:00.000Z"
    assert parse_time("2026-01-31T01:00:00+02:00") == parse_time("2026-01-30T23:00:00") == moment


@pytest.mark.parametrize(
    "text", ["2026-01-31", "2026-01-31T00:00", "2026-01-31t00:00:00z", "2026-01-31 00:00:00.000000000+00:00"]
)
def test_other_notations_of_a_time_are_accepted(text: str) -> None:
    assert parse_time(text) == datetime(2026, 1, 31, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        *("", "yesterday", "2026-13-01T00:00:00Z", "1769860800", "0001-01-01T00:00:00+23:00"),
        *("2026-W05-6", "20260131T000000Z", "2026-01-31T00Z", "2026-01-31T00:00:00,5Z", "\u0662026-01-31"),
    ],
)
def test_an_invalid_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="RFC 3339"):
        parse_time(text)
