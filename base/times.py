"""Times at the edge: RFC 3339, UTC, milliseconds, `Z`."""

import functools
import re
from datetime import UTC, datetime

# Orders of one batch have one time, and are changed together at another.
TIMES_REMEMBERED_MAX = 1_000

_TIME = re.compile(r"\d{4}-\d\d-\d\d([Tt ]\d\d:\d\d(:\d\d(\.\d+)?)?([Zz]|[+-]\d\d:\d\d)?)?", re.ASCII)


@functools.lru_cache(TIMES_REMEMBERED_MAX)
def time_text(moment: datetime) -> str:
    """2026-01-31T12:00:00.123Z"""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def now_text() -> str:
    return time_text(datetime.now(UTC))


def parse_time(text: str) -> datetime:
    """A moment from RFC 3339 text, which may end early: UTC where it names no offset, midnight where no time.

    Raises ValueError, worded for the client.
    """
    try:
        if not _TIME.fullmatch(text):
            raise ValueError(text)  # ISO 8601 has other forms, too
        moment = datetime.fromisoformat(text.upper())
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("A time in RFC 3339 is required, for example 2026-01-31T12:00:00Z.") from None
