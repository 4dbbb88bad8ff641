"""The log on stderr: every message is one line in one format, and clients can't fill it.

Warnings and errors that come from one place in the code pass at a bounded pace: so many, and then one line that
says how many more there were. Lines below a warning are for what operators do: code must not let clients cause
them.
"""

import logging
import re
import sys
import threading
import time
from typing import Any, TextIO

MESSAGE_CHARACTERS_MAX = 1_000
PLACES_MAX = 1_000  # in the code, whose pace is remembered

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class LineFormatter(logging.Formatter):
    """Escapes what would end a line or steer a terminal, and cuts what is longer than a message needs.

    A defect's stack trace follows on indented lines: an error's text may be a client's, and must not pass for a
    message.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        record.message = _plain(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        return "\n".join(f"    {_plain(line)}" for line in super().formatException(ei).split("\n"))


def _plain(text: str) -> str:
    """One line of bounded length."""
    if len(text) > MESSAGE_CHARACTERS_MAX:
        text = text[:MESSAGE_CHARACTERS_MAX] + "…"
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class Window:
    """What one place in the code has logged since `began`."""

    __slots__ = ("began", "last", "lines", "more")

    def __init__(self, began: float) -> None:
        self.began = began
        self.lines = 0
        self.more = 0
        self.last: logging.LogRecord | None = None


class PacedHandler(logging.StreamHandler[TextIO]):
    """Passes `lines_max` warnings or errors from one place in each `seconds`, then counts them."""

    def __init__(self, lines_max: int, seconds: float, stream: TextIO | None = None) -> None:
        super().__init__(stream or sys.stderr)
        self._lines_max = lines_max
        self._seconds = seconds
        self._windows: dict[tuple[str, str, int], Window] = {}
        self._timer: threading.Timer | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Called with the handler's lock held."""
        if record.name.startswith("django.security"):
            record = _as_clients_mistake(record)
        if record.levelno < logging.WARNING:
            super().emit(record)
            return
        place = (record.name, record.pathname, record.lineno)
        now = time.monotonic()
        window = self._windows.get(place)
        if window is None or now - window.began >= self._seconds:
            if window is None and len(self._windows) >= PLACES_MAX:
                self._tell_counts(now)
            elif window is not None:
                self._tell_count(window)
            window = self._windows[place] = Window(now)
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
        """Tell what was counted, at the process's end."""
        with self.lock or threading.RLock():
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._tell_counts(float("inf"))
        super().close()

    def _on_timer(self) -> None:
        with self.lock or threading.RLock():
            self._timer = None
            self._tell_counts(float("inf"))

    def _tell_counts(self, now: float) -> None:
        """Of the windows that have ended by then; they are forgotten."""
        for place, window in list(self._windows.items()):
            if now - window.began >= self._seconds:
                self._tell_count(window)
                del self._windows[place]

    def _tell_count(self, window: Window) -> None:
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


def _as_clients_mistake(record: logging.LogRecord) -> logging.LogRecord:
    """What Django's security loggers call an error is a request that was refused: no stack trace is of use."""
    fields: dict[str, Any] = {**record.__dict__, "exc_info": None, "exc_text": None}
    if record.levelno > logging.WARNING:
        fields |= {"levelno": logging.WARNING, "levelname": "WARNING"}
    fields["msg"] = record.getMessage().replace(" ALLOWED_HOSTS", " EXCHANGE_ALLOWED_HOSTS")
    fields["args"] = None
    return logging.makeLogRecord(fields)
