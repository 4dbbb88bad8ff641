"""Handles the supervisor's signals without races and without busy waiting.

A signal handler only sets a flag and wakes `pause`. So it interrupts no code: a child that was just
forked, for example, is always known. Long calls into other code run in `interruptible`, which
raises at once if a stop is requested.
"""

import contextlib
import select
import signal
import socket
from collections.abc import Iterator
from types import FrameType

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequested(BaseException):
    """SIGINT, SIGTERM or SIGHUP was received.

    Not an Exception, so that no handler on the way out catches it.
    """


class Signals:
    """The signals of this process, once `install` was called."""

    def __init__(self) -> None:
        self.stop_requested = False
        self._interruptible = False
        self._receiver, self._sender = socket.socketpair()
        self._receiver.setblocking(False)
        self._sender.setblocking(False)

    def install(self) -> None:
        """Handle the stop signals of this process, and wake `pause` whenever a child ends."""
        signal.set_wakeup_fd(self._sender.fileno(), warn_on_full_buffer=False)
        for number in _STOP_SIGNALS:
            # Under nohup, SIGHUP stays ignored.
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._on_stop)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)

    def pause(self, seconds: float | None) -> None:
        """Wait for a signal, but at most so many seconds. None means without a limit.

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
        """Raise `StopRequested` out of the block at once if a stop is requested."""
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
