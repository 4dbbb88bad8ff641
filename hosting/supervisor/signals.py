"""Signals of the supervisor, without races and without busy waiting.

A signal's handler only takes a note and wakes whoever waits in `pause`, so that no code is left half-way: a
child that has just been forked is always known. Long calls into other code run under `interruptible`, where a
request to stop raises at once.
"""

import contextlib
import select
import signal
import socket
from collections.abc import Iterator
from types import FrameType

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequested(BaseException):
    """SIGINT, SIGTERM or SIGHUP has come. Not an Exception: nobody is to handle it on the way out."""


class Signals:
    """From `install` on, the signals of this process."""

    def __init__(self) -> None:
        self.stop_requested = False
        self._interruptible = False
        self._receiver, self._sender = socket.socketpair()
        self._receiver.setblocking(False)
        self._sender.setblocking(False)

    def install(self) -> None:
        """Take over the signals that stop us, and wake up whenever a child ends."""
        signal.set_wakeup_fd(self._sender.fileno(), warn_on_full_buffer=False)
        for number in STOP_SIGNALS:
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup stays in force
                signal.signal(number, self._on_stop)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)

    def pause(self, seconds: float | None) -> None:
        """Wait until a signal comes or so many seconds are over; None waits for a signal alone.

        Raises `StopRequested` once a stop has been requested.
        """
        self.check()
        select.select([self._receiver], [], [], seconds)
        with contextlib.suppress(BlockingIOError):
            while self._receiver.recv(4096):
                pass
        self.check()

    def check(self) -> None:
        """Raise `StopRequested` if a stop has been requested."""
        if self.stop_requested:
            raise StopRequested

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """A request to stop raises `StopRequested` out of whatever runs in here."""
        self._interruptible = True
        try:
            self.check()
            yield
        finally:
            self._interruptible = False

    def _on_stop(self, number: int, frame: FrameType | None) -> None:
        self.stop_requested = True
        if self._interruptible:
            self._interruptible = False
            raise StopRequested
