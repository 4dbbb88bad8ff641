"""Sends each answer in one packet, and limits the memory of answers that clients do not read."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from django.conf import settings

from base.loops import TurnBatcher

logger = logging.getLogger(__name__)


class Unread:
    """Answers that clients of this process have not read.

    If there are too many, clients are cut off. The client that has not read for the longest time is
    the first. A client's unread bytes are measured with each of its answers, and when there are too
    many in all.
    """

    def __init__(self) -> None:
        # The first transport is the one whose client has not read for the longest time.
        self._transports: dict[asyncio.Transport, None] = {}
        self._bytes = 0  # An upper bound.

    def look_at(self, transport: asyncio.Transport, written: int) -> None:
        """Call this after `written` bytes were written to a transport."""
        waiting = transport.get_write_buffer_size()
        if not waiting:
            return
        if waiting <= written:  # The client has read all earlier answers.
            self._transports.pop(transport, None)
        self._transports.setdefault(transport)
        self._bytes += waiting
        if self._bytes > settings.API_UNREAD_BYTES_MAX or len(self._transports) > settings.API_CONCURRENT_MAX:
            self._enforce_limit()

    def _enforce_limit(self) -> None:
        """Measure all unread bytes again. If they are too many, cut clients off."""
        sizes = {transport: transport.get_write_buffer_size() for transport in self._transports}
        self._transports = {transport: None for transport, size in sizes.items() if size}
        self._bytes = sum(sizes.values())
        if self._bytes <= settings.API_UNREAD_BYTES_MAX:
            return
        logger.warning("%d clients do not read their answers: the oldest are cut off", len(self._transports))
        for transport in list(self._transports):
            if self._bytes <= settings.API_UNREAD_BYTES_MAX // 2:
                break
            self._bytes -= sizes[transport]
            del self._transports[transport]
            transport.abort()


class HeldAnswer:
    """A transport that keeps written bytes until the end of the event loop's turn.

    So head and body leave in one packet. uvicorn writes them separately, and uvloop sends each
    write at once, which would wake the client twice. The worker's replies come many at a time. All
    answers made from them are sent together.

    `on_close` runs instead of closing the transport, after everything was written.
    """

    def __init__(self, transport: asyncio.Transport, on_close: Callable[[], object] | None = None) -> None:
        self.transport = transport
        self._on_close = on_close or transport.close
        self.parts: list[bytes] = []  # Written but not sent yet.

    def write(self, data: bytes) -> None:
        if not self.parts:
            _written.add(self)
        self.parts.append(data)

    def send(self) -> None:
        """Send the kept bytes, if the client is still connected."""
        data, self.parts = b"".join(self.parts), []
        if data and not self.transport.is_closing():
            self.transport.write(data)
            _unread.look_at(self.transport, len(data))

    def close(self) -> None:
        self.send()
        self._on_close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.transport, name)


def _send_all(answers: list[HeldAnswer]) -> None:
    for answer in answers:
        try:
            answer.send()
        except Exception:  # The other answers must still be sent.
            logger.exception("an answer could not be sent")
            answer.transport.abort()


_written = TurnBatcher(_send_all)
_unread = Unread()
