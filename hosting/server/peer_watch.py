"""Notices that the peer of a WebSocket is gone without a word.

A peer that is asked by pings must send something within STREAM_SILENT_SECONDS_MAX. What does not
count against it:

- time in which this server does not read, because the application is busy with earlier messages;
- time in which the peer reads a large message, behind which our pings wait;
- time in which this process itself stood still. Then the peer is asked again first.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

from django.conf import settings

# A check that is later than this by the event loop's clock shows that the process stood still.
_LATE_SECONDS = 2 * settings.STREAM_SILENCE_CHECK_SECONDS


class Peer(Protocol):
    """The methods of a connection that this module calls."""

    def send_ping(self) -> None:
        """Send a ping frame."""

    def unsent_bytes(self) -> int:
        """Return how many bytes wait in this process."""

    def is_reading(self) -> bool:
        """Return whether received bytes are read at once."""


class PeerWatch:
    """Calls `on_silent` once if the peer sends nothing for too long."""

    def __init__(self, peer: Peer, loop: asyncio.AbstractEventLoop, on_silent: Callable[[], object]) -> None:
        self._peer = peer
        self._loop = loop
        self._on_silent = on_silent
        self._heard_at = self._checked_at = loop.time()
        self._asked_at: float | None = None  # when the last ping was sent since the peer was heard
        self._unsent_bytes = 0  # at the last check
        self._timer = loop.call_later(settings.STREAM_SILENCE_CHECK_SECONDS, self._check)

    def hear(self) -> None:
        """Note that bytes were received."""
        self._heard_at = self._loop.time()
        self._asked_at = None

    def stop(self) -> None:
        self._timer.cancel()

    def _check(self) -> None:
        now = self._loop.time()
        unsent_bytes = self._peer.unsent_bytes()
        if not self._peer.is_reading() or 0 < unsent_bytes < self._unsent_bytes:
            self.hear()
        if now - self._checked_at > _LATE_SECONDS:
            self._asked_at = None
        self._checked_at, self._unsent_bytes = now, unsent_bytes
        silent_seconds = now - self._heard_at
        asked_seconds = None if self._asked_at is None else now - self._asked_at
        if silent_seconds >= settings.STREAM_SILENT_SECONDS_MAX and (
            asked_seconds is not None and asked_seconds >= settings.STREAM_PING_SECONDS
        ):
            self._on_silent()
            return
        if silent_seconds >= settings.STREAM_PING_SECONDS and asked_seconds is None:
            self._peer.send_ping()
            self._asked_at = now
        self._timer = self._loop.call_later(settings.STREAM_SILENCE_CHECK_SECONDS, self._check)
