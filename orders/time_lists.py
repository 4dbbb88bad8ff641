"""Pages of rows in the order of their times, merged from several lists of an index.

An index such as (client_id, instrument, status, created_at) holds many lists: for each client,
instrument and status, its rows in the order of their times. A query with less than all of these
filters matches several lists, and a page has the first rows of all of them. A page is read in two
steps:

1. The times of the first entries of each list are read from the index alone. They tell the time at
   which the page ends.
2. The rows up to that time are read.

Rows with the same time are sorted by their keys, which are in no index. There are few such rows,
because only the orders or trades of one batch share a time.

Invariants: step 1 reads at most PAGE_ROWS_MERGED_MAX entries, or one for each list if there are more
lists. Step 2 reads as many rows as the page has, and those with the time at which it begins or ends.
A page is empty only if no more rows follow. A row's time and key never change, so no row is on two
pages, or on none.

Conditions compare row values, and the results are sorted by all columns of the index. PostgreSQL
can then use no other index, even if its statistics are outdated because the table has just grown.
"""

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.conf import settings

from base.times import TimeRange, from_unix_microseconds, unix_microseconds

# All UUIDs of rows sort after this key, so a position with it includes all rows of its time.
_FIRST_KEY = UUID(int=0)


class Position(NamedTuple):
    """The place of a row in a list. `role` tells the two fills of a self-trade apart."""

    time: datetime
    key: UUID
    role: str = ""

    def __str__(self) -> str:
        return f"{unix_microseconds(self.time)} {self.key} {self.role}"


def parse_position(text: str) -> Position:
    """Return the position with this text. Raises ValueError."""
    microseconds, key, role = text.split(" ")
    return Position(from_unix_microseconds(int(microseconds)), UUID(key), role)


class PageBounds(NamedTuple):
    """The rows of a page: those of `times` that follow the position `after`, at most `limit`."""

    times: TimeRange = TimeRange()
    oldest_first: bool = False
    after: Position | None = None
    limit: int = 50

    def parameters(self) -> dict[str, Any]:
        """Return the parameters of `page_sql`.

        One row more than the limit is read, to find out whether more rows follow.
        """
        lowest, highest = self.times.start or "-infinity", self.times.end or "infinity"
        begin, last = (lowest, highest) if self.oldest_first else (highest, lowest)
        return {
            "begin": begin if self.after is None else self.after.time,
            "begin_key": _FIRST_KEY if self.after is None else self.after.key,
            "begin_role": "" if self.after is None else self.after.role,
            "last": last,
            "rows": self.limit + 1,
            "merged_max": settings.PAGE_ROWS_MERGED_MAX,
        }


class Source(NamedTuple):
    """An index with lists of rows. `list` in these texts is a row of the statement's table `list`."""

    table: str
    columns: tuple[str, ...]  # of the index, without its last one, which is the time
    values: tuple[str, ...]  # of these columns in a list
    time: str
    key: str  # the column with a row's key
    selected: str  # the result's columns: among them `time` and `key` under their own names, and `role`
    role: str = "''"
    only: str = "true"  # the lists that are in this index


def page_sql(lists: str, sources: list[Source], *, oldest_first: bool) -> str:
    """Return the statement that reads a page's rows, sorted, with the column `page_ends_early`.

    `lists` is the text of a table expression `list`. If the page ends early, other rows may follow
    although there are fewer rows than `rows`.
    """
    words = _OLDEST_FIRST if oldest_first else _NEWEST_FIRST
    [(time, key)] = {(source.time, source.key) for source in sources}
    return _PAGE.format(
        lists=lists,
        times=" UNION ALL ".join(_TIMES.format(**_words_of(source, words)) for source in sources),
        rows=" UNION ALL ".join(_ROWS.format(**_words_of(source, words)) for source in sources),
        time=time,
        key=key,
        **words,
    )


def _words_of(source: Source, words: dict[str, str]) -> dict[str, str]:
    columns = (*(f"listed.{column}" for column in source.columns), f"listed.{source.time}")
    return {
        **source._asdict(),
        **words,
        "row": f"({', '.join(columns)})",
        "place": ", ".join(source.values),
        "order": ", ".join(f"{column} {words['direction']}" for column in columns),
    }


_NEWEST_FIRST = {
    "after": "<",
    "until": ">=",
    "up_to": ">=",
    "direction": "DESC",
    "nearer": "greatest",
    "nearest": "max",
}
_OLDEST_FIRST = {
    "after": ">",
    "until": "<",
    "up_to": "<=",
    "direction": "ASC",
    "nearer": "least",
    "nearest": "min",
}
_TIMES = """
SELECT read.time, read.rank = (SELECT entries FROM share) AS ends_the_page
FROM list CROSS JOIN LATERAL (
  SELECT time, row_number() OVER () AS rank FROM (
    SELECT listed.{time} AS time FROM {table} AS listed
    WHERE {row} {after} ({place}, %(begin)s::timestamptz) AND {row} {until} ({place}, %(last)s::timestamptz)
    ORDER BY {order} LIMIT (SELECT entries FROM share)
  ) AS entry
) AS read
WHERE {only}
"""
_ROWS = """
SELECT read.* FROM list CROSS JOIN LATERAL (
  SELECT {selected} FROM {table} AS listed
  WHERE {row} {after}= ({place}, %(begin)s::timestamptz) AND {row} {up_to} ({place}, (SELECT time FROM page_end))
    AND (listed.{time}, listed.{key}, {role}) {after} (%(begin)s::timestamptz, %(begin_key)s::uuid, %(begin_role)s)
    AND listed.{time} {until} %(last)s::timestamptz
  ORDER BY {order}, listed.{key} {direction} LIMIT %(rows)s
) AS read
WHERE {only}
"""
# If the maximum number of entries was read from a list, more entries may follow its last one. The
# page must end there. It also ends once enough rows are known.
_PAGE = """
WITH {lists},
share AS MATERIALIZED (
  SELECT greatest(1, least(%(rows)s, %(merged_max)s / greatest(1, count(*)))) AS entries FROM list
),
entry AS MATERIALIZED ({times}),
page_end AS MATERIALIZED (
  SELECT coalesce({nearer}(early, enough), %(last)s::timestamptz) AS time, early IS NOT NULL AS is_early
  FROM (
    SELECT {nearest}(time) FILTER (WHERE ends_the_page) AS early,
      (SELECT time FROM entry ORDER BY time {direction} OFFSET %(rows)s - 1 LIMIT 1) AS enough
    FROM entry
  ) AS ends
)
SELECT found.*, (SELECT is_early FROM page_end) AS page_ends_early
FROM ({rows}) AS found
ORDER BY found.{time} {direction}, found.{key} {direction}, found.role {direction} LIMIT %(rows)s
"""
