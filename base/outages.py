"""Logs the start and the end of each outage, and a line every OUTAGE_LOG_SECONDS in between.

Retries against PostgreSQL or Redis can fail many times a second. One line for each attempt would
hide all other lines. If something fails and recovers again and again, at most OUTAGES_LOGGED_MAX
outages are logged in OUTAGE_LOG_SECONDS.
"""

import logging
import time
from collections.abc import Callable

from django.conf import settings


class Outage:
    """Tracks one service or task that may fail, such as "Redis", for all its users in this process.

    Call `failed` and `ended` from one thread. If several users share the object, each passes its
    own name. The outage begins when the first of them fails, and ends when all that failed have
    recovered.
    """

    def __init__(
        self, logger: logging.Logger, what: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._logger = logger
        self._what = what
        self._clock = clock
        self._failing: set[str] = set()
        self._began_at = 0.0
        self._logged_at = 0.0
        self._attempts = 0
        self._is_logged = False  # whether the current outage was logged
        self._window_ends_at = 0.0  # a window lasts OUTAGE_LOG_SECONDS
        self._logged_in_window = 0  # the outages that were logged in the window
        self._unlogged = 0  # the outages that were not logged

    def failed(self, error: BaseException | str, *, name: str = "", traceback: bool = False) -> None:
        """Count a failed attempt.

        The first failure of an outage is logged, and then one failure every OUTAGE_LOG_SECONDS.

        If `traceback` is set, the error may be a defect and the first line includes its stack
        trace.
        """
        now = self._clock()
        begins = not self._failing
        self._failing.add(name)
        if begins:
            self._began_at, self._attempts = now, 0
            self._is_logged = self._may_log(now)
        self._attempts += 1
        reason = _one_line(error)
        if begins and self._is_logged:
            self._logged_at = now
            shown = error if traceback and isinstance(error, BaseException) else None
            self._logger.warning("%s: %s%s", self._what, reason, self._unlogged_note(), exc_info=shown)
        elif not begins and now - self._logged_at >= settings.OUTAGE_LOG_SECONDS:
            self._logged_at, self._is_logged = now, True
            self._logger.warning(
                "%s: still away after %.0f s and %d attempts: %s%s",
                self._what,
                now - self._began_at,
                self._attempts,
                reason,
                self._unlogged_note(),
            )

    def ended(self, name: str = "") -> None:
        """Record a success, and log the end of an outage. Cheap if there is no outage."""
        if not self._failing:
            return
        self._failing.discard(name)
        if self._failing:
            return
        if self._is_logged:
            seconds = self._clock() - self._began_at
            self._logger.warning(
                "%s: back after %.1f s and %d failed attempts", self._what, seconds, self._attempts
            )
        else:
            self._unlogged += 1

    def give_up(self, name: str = "") -> None:
        """Forget a failure without a line in the log, because the caller will not try again."""
        self._failing.discard(name)

    def _may_log(self, now: float) -> bool:
        if now >= self._window_ends_at:
            self._window_ends_at = now + settings.OUTAGE_LOG_SECONDS
            self._logged_in_window = 0
        self._logged_in_window += 1
        return self._logged_in_window <= settings.OUTAGES_LOGGED_MAX

    def _unlogged_note(self) -> str:
        """Return a note on the number of unlogged outages, and reset the number."""
        unlogged, self._unlogged = self._unlogged, 0
        return f" ({unlogged} short outages before it were not logged)" if unlogged else ""


def _one_line(error: BaseException | str) -> str:
    """Return a text unchanged, or an exception's type and its message without line breaks."""
    if isinstance(error, str):
        return error
    message = " ".join(str(error).split())
    return f"{type(error).__name__}: {message}" if message else type(error).__name__
