"""The time that a worker gives to its batches."""

import logging
from datetime import UTC, datetime

from django.conf import settings

logger = logging.getLogger(__name__)


class BatchClock:
    """Goes back only if the system's clock went back by more than WORKER_CLOCK_STEP_SECONDS."""

    def __init__(self, partition: int) -> None:
        self._partition = partition
        self._last = datetime.min.replace(tzinfo=UTC)

    def now(self) -> datetime:
        """Return the time of the next batch."""
        now = self.read()
        back = (self._last - now).total_seconds()
        if back > settings.WORKER_CLOCK_STEP_SECONDS:
            logger.warning(
                "partition %d: the clock went back by %.1f s, and so do new timestamps", self._partition, back
            )
            self._last = now
        self._last = max(self._last, now)
        return self._last

    def read(self) -> datetime:
        """Return the time of the system's clock."""
        return datetime.now(UTC)
