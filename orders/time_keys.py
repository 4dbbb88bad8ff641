"""Bounds for UUIDs of version 7 (RFC 9562), which begin with the milliseconds since 1970."""

from datetime import datetime, timedelta
from uuid import UUID

# The maximum difference between the time in a key and the time of its row. They may come from two
# machines, whose clocks differ by far less in practice.
CLOCK_DIFFERENCE_MAX = timedelta(hours=1)


def first_key(moment: datetime) -> UUID:
    """Return the least UUID of a moment, or of 1970 if the moment is earlier."""
    return UUID(int=max(0, int(moment.timestamp() * 1000)) << 80)
