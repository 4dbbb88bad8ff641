"""Runs the checks of the database, all in one snapshot: trading goes on, and they see one moment of it.

The snapshot keeps dead rows from being vacuumed while it lasts, as any long read does.
"""

import time
from collections.abc import Iterator

from django.db import connection
from django.db.backends.utils import CursorWrapper

from base.database import snapshot
from matching.audit.database_checks import DATABASE_CHECKS, DatabaseCheck
from matching.audit.outcome import Outcome

WORK_MEMORY = "64MB"  # of the database, for each sort or hash table; two of them at a time at most

_LIMITS = "SELECT set_config('work_mem', %s, true), set_config('statement_timeout', '0', true)"


def audit_database() -> Iterator[Outcome]:
    """Check after check, each when it is asked for. Raises django.db.Error."""
    with snapshot(), connection.cursor() as cursor:
        cursor.execute(_LIMITS, [WORK_MEMORY])
        for check in DATABASE_CHECKS:
            yield run_check(cursor, check)


def run_check(cursor: CursorWrapper, check: DatabaseCheck) -> Outcome:
    """One check, in the transaction at hand."""
    started = time.perf_counter()
    cursor.execute(check.statement(), list(check.faults))
    rows = cursor.fetchall()
    return Outcome(
        name=check.name,
        promise=check.promise,
        seconds=time.perf_counter() - started,
        breaches=[breach for breach, _ in rows],
        breach_count=rows[0][1] if rows else 0,
        skipped=[],
    )
