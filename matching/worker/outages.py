"""Distinguishes outages of the database, Redis or the lease from errors of a batch."""

from django.db import InterfaceError, OperationalError
from redis.exceptions import RedisError

from matching.commit.checkpoint import LeaseLost

OUTAGES = (OperationalError, InterfaceError, LeaseLost, RedisError, OSError)
# SQLSTATEs of batches that are too large for PostgreSQL, which is no outage: 57014 query_canceled
# (the statement took too long) and class 54 program_limit_exceeded. The batch would fail again as a
# whole, but its commands may succeed one at a time.
_TOO_LARGE_SQLSTATES = ("57014", "54")


def is_outage(error: Exception) -> bool:
    """Return whether the database, Redis or the lease was lost. If not, the batch is at fault."""
    state: str = getattr(error.__cause__, "sqlstate", None) or ""
    return isinstance(error, OUTAGES) and not state.startswith(_TOO_LARGE_SQLSTATES)
