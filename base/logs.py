"""The log on stderr. Every message is one line in one format. Clients cannot flood the log.

Warnings and errors from one place in the code are limited: some of them are written, and then one
line tells how many more there were. Lines below the level of warnings are not limited. They are for
actions of operators, and code must not let clients cause them.
"""

import logging
import re
import sys
import threading
import time
from typing import Any, TextIO

MESSAGE_CHARACTERS_MAX = 1_000
PLACES_MAX = 1_000  # the number of places in the code that are limited separately

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class LineFormatter(logging.Formatter):
    """Escapes line breaks and terminal control characters, and truncates long messages.

    A stack trace follows its message on indented lines. An error's text may come from a client, and
    the indentation keeps it from looking like a message.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        record.message = _escape(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        return "\n".join(f"    {_escape(line)}" for line in super().formatException(ei).split("\n"))


def _escape(text: str) -> str:
    """Return a text as one line of bounded length."""
    if len(text) > MESSAGE_CHARACTERS_MAX:
        text = text[:MESSAGE_CHARACTERS_MAX] + "…"
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class LogWindow:
    """Counts what one place in the code has logged since `began`."""

    __slots__ = ("began", "last", "lines", "more")

    def __init__(self, began: float) -> None:
        self.began = began
        self.lines = 0
        self.more = 0
        self.last: logging.LogRecord | None = None


class PacedHandler(logging.StreamHandler[TextIO]):
    """Writes at most `lines_max` warnings or errors from one place in the code within `seconds`.

    Further lines are counted, and the count is logged later.
    """

    def __init__(self, lines_max: int, seconds: float, stream: TextIO | None = None) -> None:
        super().__init__(stream or sys.stderr)
        self._lines_max = lines_max
        self._seconds = seconds
        self._windows: dict[tuple[str, str, int], LogWindow] = {}
        self._timer: threading.Timer | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Write or count a record. The caller holds the handler's lock."""
        if record.name.startswith("django.security"):
            record = _as_refused_request(record)
        if record.levelno < logging.WARNING:
            super().emit(record)
            return
        place = (record.name, record.pathname, record.lineno)
        now = time.monotonic()
        window = self._windows.get(place)
        if window is None or now - window.began >= self._seconds:
            if window is None and len(self._windows) >= PLACES_MAX:
                self._log_counts(now)
            elif window is not None:
                self._log_count(window)
            window = self._windows[place] = LogWindow(now)
        if window.lines < self._lines_max:
            window.lines += 1
            super().emit(record)
            return
        window.more += 1
        window.last = record
        if self._timer is None:
            self._timer = threading.Timer(self._seconds, self._on_timer)
            self._timer.daemon = True
            self._timer.start()

    def close(self) -> None:
        """Log the counts at the end of the process."""
        with self.lock or threading.RLock():
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._log_counts(float("inf"))
        super().close()

    def _on_timer(self) -> None:
        with self.lock or threading.RLock():
            self._timer = None
            self._log_counts(float("inf"))

    def _log_counts(self, now: float) -> None:
        """Log and remove the windows that have ended at the monotonic time `now`."""
        for place, window in list(self._windows.items()):
            if now - window.began >= self._seconds:
                self._log_count(window)
                del self._windows[place]

    def _log_count(self, window: LogWindow) -> None:
        if window.last is None:
            return
        record = logging.makeLogRecord({**window.last.__dict__, "created": time.time(), "msecs": 0.0})
        message = window.last.getMessage()[:MESSAGE_CHARACTERS_MAX]
        seconds = max(1, round(time.monotonic() - window.began))
        record.msg = "%s … and %d more like it in the last %d s"
        record.args = (message, window.more - 1, seconds)
        if window.more == 1:
            record.msg, record.args = "%s", (message,)
        record.exc_info = record.exc_text = record.stack_info = None
        super().emit(record)


def _as_refused_request(record: logging.LogRecord) -> logging.LogRecord:
    """Return a record of Django's security loggers as a warning without a stack trace.

    Django logs an error, but the request was only refused.
    """
    fields: dict[str, Any] = {**record.__dict__, "exc_info": None, "exc_text": None}
    if record.levelno > logging.WARNING:
        fields |= {"levelno": logging.WARNING, "levelname": "WARNING"}
    fields["msg"] = record.getMessage().replace(" ALLOWED_HOSTS", " EXCHANGE_ALLOWED_HOSTS")
    fields["args"] = None
    return logging.makeLogRecord(fields)
