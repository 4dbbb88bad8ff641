"""A check of the database: one SQL statement that finds the rows that break a promise.

A check has a source of rows, and faults that no row may have. A fault is an SQL condition. A
condition that is NULL is no fault, so if a joined row is missing, only the fault that names the
missing row is reported.
"""

from collections.abc import Mapping
from typing import NamedTuple

from matching.operations.audit.results import BREACHES_LISTED_MAX


class DatabaseCheck(NamedTuple):
    """A promise, and the SQL that finds the rows that break it."""

    name: str
    promise: str
    rows: str  # the FROM clause
    subject: str  # a text expression that identifies the row
    order: str  # the ORDER BY clause
    details: str  # a text expression with the row's relevant values
    faults: Mapping[str, str]  # conditions, by the description of the fault

    def statement(self) -> str:
        """Return a statement that selects the first BREACHES_LISTED_MAX breaches.

        Its columns are the breach's text and the count of all breaches. Its parameters are the keys
        of `faults`.
        """
        faults = ", ".join(f"CASE WHEN {condition} THEN %s END" for condition in self.faults.values())
        found = " OR ".join(f"({condition})" for condition in self.faults.values())
        return (
            f"SELECT concat({self.subject}, ': ', concat_ws(', ', {faults}), ' (', {self.details}, ')') AS breach, "  # noqa: S608 - joined from constants only
            f"count(*) OVER () FROM {self.rows} WHERE {found} ORDER BY {self.order} LIMIT {BREACHES_LISTED_MAX}"
        )


SYMBOL = "coalesce(instrument.symbol, 'instrument ' || {table}.instrument_id)"
"""The symbol of the joined instrument, or the id that the table has for an unknown one."""
