"""Runs the checks of the database in one snapshot, so that all see the same moment of trading.

Like any long read, the snapshot keeps dead rows from being vacuumed while it lasts.
"""

import time
from collections.abc import Iterator

from django.db import connection
from django.db.backends.utils import CursorWrapper

from base.database import snapshot
from matching.operations.audit.check import DatabaseCheck
from matching.operations.audit.database_checks import DATABASE_CHECKS
from matching.operations.audit.results import CheckResult

WORK_MEMORY = "64MB"  # the database's memory for each sort or hash table, of which at most 2 exist

_LIMITS = "SELECT set_config('work_mem', %s, true), set_config('statement_timeout', '0', true)"


def audit_database() -> Iterator[CheckResult]:
    """Run the database checks, one for each step of the iterator. Raises django.db.Error."""
    with snapshot(), connection.cursor() as cursor:
        cursor.execute(_LIMITS, [WORK_MEMORY])
        for check in DATABASE_CHECKS:
            yield run_check(cursor, check)


def run_check(cursor: CursorWrapper, check: DatabaseCheck) -> CheckResult:
    """Run one check in the current transaction."""
    started = time.perf_counter()
    cursor.execute(check.statement(), list(check.faults))
    rows = cursor.fetchall()
    return CheckResult(
        name=check.name,
        promise=check.promise,
        seconds=time.perf_counter() - started,
        breaches=[breach for breach, _ in rows],
        breach_count=rows[0][1] if rows else 0,
        skipped=[],
    )
