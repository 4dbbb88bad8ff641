"""Where a worker's database session runs: on the processors of the worker.

The two work by turns. Where the system may put them on different processors, each turn wakes a sleeping one, which
costs a virtual machine more than a small batch, and finds nothing of what the other has written in its caches.
docs/adr/0014-one-processor-for-the-chain.md has the figures.
"""

import contextlib
import os
from typing import Any

import psycopg
from django.conf import settings


def bring_session(connection: "psycopg.Connection[Any]") -> None:
    """Let the session's process run where this one may. Only the embedded PostgreSQL's are ours, and near."""
    if settings.ENVIRONMENT.postgres_uri is None and hasattr(os, "sched_setaffinity"):
        # Only speed depends on it. It may be gone, which the next statement will tell, or not ours to move: then no
        # CPU was chosen.
        with contextlib.suppress(OSError):
            os.sched_setaffinity(connection.info.backend_pid, os.sched_getaffinity(0))
