"""Children that are started in order, restarted when they die, and stopped in reverse order."""

import logging
import time
from dataclasses import dataclass
from typing import Protocol

from django.conf import settings

from hosting.embedded.processes import ProcessError

logger = logging.getLogger(__name__)


class Service(Protocol):
    """Something that runs in a process of its own."""

    name: str

    def start(self) -> None: ...

    def is_running(self) -> bool: ...

    def stop(self) -> None: ...


@dataclass
class Charge:
    """A service under supervision. Times are of the monotonic clock, in seconds."""

    service: Service
    started_at: float
    failures: int = 0  # in a row
    restart_at: float | None = None


class Supervisor:
    """Looks after services.

    A service that dies is started again at once; one that dies again and again waits between the starts, up
    to RESTART_BACKOFF_SECONDS_MAX.
    """

    def __init__(self) -> None:
        self._charges: list[Charge] = []

    def start(self, service: Service) -> None:
        """Start a service and look after it from now on. Raises what its start raises."""
        self._charges.append(
            Charge(service, time.monotonic())
        )  # first: a start that fails half-way is stopped
        service.start()

    def tend(self) -> float | None:
        """Start again what has died; returns the seconds until more is due, None if nothing is."""
        now = time.monotonic()
        for charge in self._charges:
            if charge.service.is_running():
                continue
            if charge.restart_at is None:
                self._note_death(charge, now)
            if charge.restart_at is not None and charge.restart_at <= now:
                self._restart(charge)
        due = [charge.restart_at for charge in self._charges if charge.restart_at is not None]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def stop(self) -> None:
        """Stop everything, the last one first. Takes no longer than the services' own limits together."""
        for charge in reversed(self._charges):
            charge.service.stop()

    def _note_death(self, charge: Charge, now: float) -> None:
        if now - charge.started_at >= settings.RESTART_BACKOFF_RESET_SECONDS:
            charge.failures = 0
        shortest, longest = settings.RESTART_BACKOFF_SECONDS_MIN, settings.RESTART_BACKOFF_SECONDS_MAX
        delay = min(shortest * 2 ** (charge.failures - 1), longest) if charge.failures else 0.0
        charge.failures = min(charge.failures + 1, 100)  # the power stays a float
        charge.restart_at = now + delay
        logger.warning("%s has died and is started again in %.1f s", charge.service.name, delay)

    def _restart(self, charge: Charge) -> None:
        charge.restart_at = None
        charge.started_at = time.monotonic()
        try:
            charge.service.start()
        except ProcessError as error:
            logger.error("%s", error)
