"""How an outage is told in the log: its beginning at once, then now and then that it lasts, and its end.

What retries against PostgreSQL or Redis fails many times a second, and one sentence for each attempt would bury all
others. The limit of OUTAGES_LOGGED_MAX holds the log still if something fails and recovers again and again.
"""

import logging
import time
from collections.abc import Callable

from django.conf import settings


class Outage:
    """One thing that may be away, such as "Redis", for all that need it in this process.

    `failed` and `ended` are to be called from one thread. If several parties share it, each gives its name: the
    outage begins with the first that fails, and ends when all that failed have recovered.
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
        self._is_logged = False  # whether the log knows of this outage
        self._window_ends_at = 0.0  # of OUTAGE_LOG_SECONDS
        self._logged_in_window = 0  # outages
        self._unlogged = 0

    @property
    def lasts(self) -> bool:
        return bool(self._failing)

    def failed(self, error: BaseException | str, *, name: str = "", traceback: bool = False) -> None:
        """Count a failed attempt, and log it if it is the first one or the log is due.

        `traceback`: the error may be a defect, so the first line has its stack trace.
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
            self._logger.warning("%s: %s%s", self._what, reason, self._not_logged(), exc_info=shown)
        elif not begins and now - self._logged_at >= settings.OUTAGE_LOG_SECONDS:
            self._logged_at, self._is_logged = now, True
            self._logger.warning(
                "%s: still away after %.0f s and %d attempts: %s%s",
                self._what,
                now - self._began_at,
                self._attempts,
                reason,
                self._not_logged(),
            )

    def ended(self, name: str = "") -> None:
        """It works again. Costs nothing if it did before."""
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
        """Nobody tries any more, so the log is not told that it works again."""
        self._failing.discard(name)

    def _may_log(self, now: float) -> bool:
        if now >= self._window_ends_at:
            self._window_ends_at = now + settings.OUTAGE_LOG_SECONDS
            self._logged_in_window = 0
        self._logged_in_window += 1
        return self._logged_in_window <= settings.OUTAGES_LOGGED_MAX

    def _not_logged(self) -> str:
        """What the log was spared before this line."""
        unlogged, self._unlogged = self._unlogged, 0
        return f" ({unlogged} short outages before it were not logged)" if unlogged else ""


def _one_line(error: BaseException | str) -> str:
    """The error's kind, unless it is a text, and its message without line breaks."""
    if isinstance(error, str):
        return error
    message = " ".join(str(error).split())
    return f"{type(error).__name__}: {message}" if message else type(error).__name__
