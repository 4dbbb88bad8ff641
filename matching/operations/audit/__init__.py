"""The checks of `manage.py audit`, which compares all stored data with the exchange's promises.

database_checks.py lists the promises that can be checked by one statement each. database.py runs
them in one snapshot. live.py compares the database with the mirrors in Redis and with the matching
workers, and overdue.py checks that the workers do in time what is due. The audit never writes.

Cost: a few passes over orders and trades. This process holds the books that it compares with a
worker's; otherwise its memory does not grow with the tables. Sorts and hash tables larger than
WORK_MEMORY go to the database's disk.
"""

from collections.abc import Iterator

from matching.operations.audit.database import audit_database
from matching.operations.audit.database_checks import DATABASE_CHECKS
from matching.operations.audit.live import MIRRORS, WORKERS, audit_mirrors, audit_workers
from matching.operations.audit.overdue import OVERDUE, audit_overdue
from matching.operations.audit.results import CheckResult

__all__ = ["CHECK_NAMES", "CheckResult", "run_audit"]

CHECK_NAMES = (*(check.name for check in DATABASE_CHECKS), MIRRORS, WORKERS, OVERDUE)


def run_audit() -> Iterator[CheckResult]:
    """Run the checks in the order of CHECK_NAMES, one for each step of the iterator.

    Raises django.db.Error.
    """
    yield from audit_database()
    yield audit_mirrors()
    yield audit_workers()
    yield audit_overdue()
