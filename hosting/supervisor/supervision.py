"""Starts children in order, restarts dead ones, and stops all in reverse order."""

import logging
import time
from dataclasses import dataclass
from typing import Protocol

from django.conf import settings

from hosting.embedded.processes import ProcessError

logger = logging.getLogger(__name__)


class Service(Protocol):
    """A program that runs in its own process."""

    name: str

    def start(self) -> None: ...

    def is_running(self) -> bool: ...

    def stop(self) -> None: ...


@dataclass
class _SupervisedService:
    """A service under supervision. Times are in seconds of the monotonic clock."""

    service: Service
    started_at: float
    failures: int = 0  # Deaths without RESTART_BACKOFF_RESET_SECONDS of life in between.
    restart_at: float | None = None


class Supervisor:
    """Keeps services running.

    A service that dies is restarted at once. If it dies repeatedly, the supervisor waits before
    each restart, at most RESTART_BACKOFF_SECONDS_MAX.
    """

    def __init__(self) -> None:
        self._supervised: list[_SupervisedService] = []

    def start(self, service: Service) -> None:
        """Start a service and supervise it. Raises any exception of its start."""
        # Add the service first, so that `stop` also stops one whose start has failed.
        self._supervised.append(_SupervisedService(service, time.monotonic()))
        service.start()

    def restart_dead(self) -> float | None:
        """Restart dead services. Return the seconds after which to call this again.

        None means that nothing is to be done until another service dies. After a restart the result
        is 0: another service may have died during it, and that death wakes only the pauses of the
        restart, not the caller.
        """
        now = time.monotonic()
        is_restarted = False
        for supervised in self._supervised:
            if supervised.service.is_running():
                continue
            if supervised.restart_at is None:
                self._note_death(supervised, now)
            if supervised.restart_at is not None and supervised.restart_at <= now:
                self._restart(supervised)
                is_restarted = True
        if is_restarted:
            return 0.0
        due = [supervised.restart_at for supervised in self._supervised if supervised.restart_at is not None]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def stop(self) -> None:
        """Stop all services in reverse order. Takes at most the sum of the services' limits."""
        for supervised in reversed(self._supervised):
            supervised.service.stop()

    def _note_death(self, supervised: _SupervisedService, now: float) -> None:
        if now - supervised.started_at >= settings.RESTART_BACKOFF_RESET_SECONDS:
            supervised.failures = 0
        shortest, longest = settings.RESTART_BACKOFF_SECONDS_MIN, settings.RESTART_BACKOFF_SECONDS_MAX
        delay = min(shortest * 2 ** (supervised.failures - 1), longest) if supervised.failures else 0.0
        # Without this limit, the power above would become too large for a float.
        supervised.failures = min(supervised.failures + 1, 100)
        supervised.restart_at = now + delay
        logger.warning("%s has died and is restarted in %.1f s", supervised.service.name, delay)

    def _restart(self, supervised: _SupervisedService) -> None:
        supervised.restart_at = None
        supervised.started_at = time.monotonic()
        try:
            supervised.service.start()
        except ProcessError as error:
            logger.error("%s", error)
