"""What `manage.py audit` does: the exchange's promises, held against everything that is stored.

`database_checks` lists the promises that one statement each can check, `database` runs them in one snapshot,
`live` holds the database against the mirror in Redis and the matching workers. Everything only reads.

Cost: a few passes over orders and trades. Memory in this process does not grow with the tables (books are loaded to
compare them with a worker's), and in the database what is beyond WORK_MEMORY goes to disk.
"""

from collections.abc import Iterator

from matching.audit.database import audit_database
from matching.audit.database_checks import DATABASE_CHECKS
from matching.audit.live import MIRRORS, WORKERS, audit_mirrors, audit_workers
from matching.audit.outcome import Outcome

__all__ = ["CHECK_NAMES", "Outcome", "run_audit"]

CHECK_NAMES = (*(check.name for check in DATABASE_CHECKS), MIRRORS, WORKERS)


def run_audit() -> Iterator[Outcome]:
    """Check after check in the order of CHECK_NAMES, each when it is asked for. Raises django.db.Error."""
    yield from audit_database()
    yield audit_mirrors()
    yield audit_workers()
