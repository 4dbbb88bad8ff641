"""The parameters `start`, `end` and `sort`, which lists share.

Answers show times in whole milliseconds, rounded down. `start` and `end` are therefore rounded up
to whole milliseconds: then `start` <= time < `end` holds for the times that clients see.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from base.refusals import InvalidRequest
from base.times import TimeRange, parse_time
from web.schema import choice, query, sent

_MILLISECOND = timedelta(milliseconds=1)
_MOMENT = {"type": "string", "format": "date-time"}
_LATEST_FIRST, _OLDEST_FIRST = "desc", "asc"


def read_time_range(query: Mapping[str, str]) -> TimeRange:
    """Return the bounds in the parameters `start` and `end`. Raises InvalidRequest."""
    start, end = _read_time(query, "start"), _read_time(query, "end")
    if start is not None and end is not None and start >= end:
        raise InvalidRequest(fields={"start": ["Must be before end."]})
    return TimeRange(_whole_milliseconds(start), _whole_milliseconds(end))


def _read_time(query: Mapping[str, str], name: str) -> datetime | None:
    text = query.get(name)
    if text is None:
        return None
    try:
        return parse_time(text.replace(" ", "+"))  # a plus sign that was not escaped in the URL
    except ValueError as error:
        raise InvalidRequest(fields={name: [str(error)]}) from None


def _whole_milliseconds(moment: datetime | None) -> datetime | None:
    """Return the moment, rounded up to a whole millisecond."""
    rest = timedelta(microseconds=moment.microsecond % 1000) if moment is not None else None
    if moment is None or not rest:
        return moment
    try:
        return moment + (_MILLISECOND - rest)
    except OverflowError:
        return moment  # the last millisecond of the year 9999


def is_oldest_first(query: Mapping[str, str]) -> bool:
    """Return whether the parameter `sort` asks for the oldest items first. Raises InvalidRequest."""
    text = query.get("sort", _LATEST_FIRST)
    if text not in (_LATEST_FIRST, _OLDEST_FIRST):
        raise InvalidRequest(fields={"sort": [f"Must be one of: {_LATEST_FIRST}, {_OLDEST_FIRST}."]})
    return text == _OLDEST_FIRST


def listing_filters(span: TimeRange, *, oldest_first: bool) -> dict[str, str | None]:
    """Return what a cursor must be signed with, so that it belongs to these times and this order."""
    return {
        "start": None if span.start is None else span.start.isoformat(),
        "end": None if span.end is None else span.end.isoformat(),
        "sort": _OLDEST_FIRST if oldest_first else None,
    }


def listing_parameters(time_field: str) -> list[Any]:
    """Return the descriptions of `start`, `end` and `sort` for a list of items with this time."""
    return [
        query(
            *("start", _MOMENT, f"only with a {time_field} at or after this time"),
            *(sent("a time", "2026-01-31T12:00:00Z", 200), sent("not a time", "yesterday", 400)),
        ),
        query(
            *("end", _MOMENT, f"only with a {time_field} before this time"),
            *(sent("a time", "2030-01-31T13:00:00Z", 200), sent("not a time", "tomorrow", 400)),
        ),
        query(
            "sort",
            {**choice([_LATEST_FIRST, _OLDEST_FIRST]), "default": _LATEST_FIRST},
            "desc: the newest first; asc: the oldest first",
            *(sent("oldest first", _OLDEST_FIRST, 200), sent("unknown", "newest", 400)),
        ),
    ]
