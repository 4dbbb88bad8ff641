"""Keys that grow with time: UUIDs of version 7 (RFC 9562) begin with their milliseconds since 1970."""

from datetime import datetime, timedelta
from uuid import UUID

# A key is made on one machine and the row's time on another: their clocks differ by far less.
CLOCK_DIFFERENCE_MAX = timedelta(hours=1)


def first_key(moment: datetime) -> UUID:
    """The least UUID of version 7 of a moment, or of 1970 where that is later."""
    return UUID(int=max(0, int(moment.timestamp() * 1000)) << 80)
