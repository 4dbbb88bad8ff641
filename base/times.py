"""Times in requests and answers: RFC 3339 in UTC, with milliseconds and `Z`."""

import functools
import re
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

# The number of cached texts. All orders of a batch share one time, so few times are in use.
TIMES_REMEMBERED_MAX = 1_000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIME = re.compile(r"\d{4}-\d\d-\d\d([Tt ]\d\d:\d\d(:\d\d(\.\d+)?)?([Zz]|[+-]\d\d:\d\d)?)?", re.ASCII)


@functools.lru_cache(TIMES_REMEMBERED_MAX)
def time_text(moment: datetime) -> str:
    """Return a text such as 2026-01-31T12:00:00.123Z."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def now_text() -> str:
    return time_text(datetime.now(UTC))


def unix_milliseconds(moment: datetime) -> int:
    """Return the whole milliseconds since 1970 UTC, rounded down, as in `time_text`."""
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def from_unix_milliseconds(milliseconds: int) -> datetime:
    """Return the moment, in UTC."""
    return _EPOCH + timedelta(milliseconds=milliseconds)


def unix_microseconds(moment: datetime) -> int:
    """Return the microseconds since 1970 UTC, which are exact for every time of a row."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def from_unix_microseconds(microseconds: int) -> datetime:
    """Return the moment, in UTC. Raises OverflowError."""
    return _EPOCH + timedelta(microseconds=microseconds)


class TimeRange(NamedTuple):
    """The times from `start` on and before `end`. None means that there is no bound."""

    start: datetime | None = None
    end: datetime | None = None


def parse_time(text: str) -> datetime:
    """Return the moment in an RFC 3339 text, which may be incomplete.

    A missing time means midnight, and a missing offset means UTC.

    Raises ValueError with a message for the client.
    """
    try:
        if not _TIME.fullmatch(text):
            raise ValueError(text)  # fromisoformat also accepts other forms of ISO 8601
        moment = datetime.fromisoformat(text.upper())
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("A time in RFC 3339 is required, for example 2026-01-31T12:00:00Z.") from None
