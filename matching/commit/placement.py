"""Keeps a worker's database session on the worker's processors.

The worker and its session work in turn. If they run on different processors, each turn wakes a
sleeping processor, which costs more than a small batch on a virtual machine, and the data of the
other process is not in its caches. docs/adr/0014-one-processor-for-the-chain.md has the figures.
"""

import contextlib
import os
from typing import Any

import psycopg
from django.conf import settings


def move_session_to_own_processors(connection: "psycopg.Connection[Any]") -> None:
    """Allow the session's process the same processors as this process.

    Only sessions of the embedded PostgreSQL run on this machine and may be moved.
    """
    if settings.ENVIRONMENT.postgres_uri is None and hasattr(os, "sched_setaffinity"):
        # Only speed depends on this. It fails if the session has ended, which the next statement
        # will report, or if its process belongs to another user. In the latter case no processors
        # were chosen for this process either.
        with contextlib.suppress(OSError):
            os.sched_setaffinity(connection.info.backend_pid, os.sched_getaffinity(0))
