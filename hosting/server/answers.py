"""How answers leave: in one packet, and bounded together if clients do not read them."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from django.conf import settings

from base.loops import TurnBatcher

logger = logging.getLogger(__name__)


class Unread:
    """Answers that clients of this process have not taken: if there are too many, the oldest are given up.

    The size of what a client still has to take is read again only then, and at its next answer.
    """

    def __init__(self) -> None:
        self._transports: dict[
            asyncio.Transport, None
        ] = {}  # the client that has not read for longest is first
        self._bytes = 0  # at most

    def look_at(self, transport: asyncio.Transport, written: int) -> None:
        """Call this after `written` bytes were written to a transport."""
        waiting = transport.get_write_buffer_size()
        if not waiting:
            return
        if waiting <= written:  # all before it was taken
            self._transports.pop(transport, None)
        self._transports.setdefault(transport)
        self._bytes += waiting
        if self._bytes > settings.API_UNREAD_BYTES_MAX or len(self._transports) > settings.API_CONCURRENT_MAX:
            self._count()

    def _count(self) -> None:
        sizes = {transport: transport.get_write_buffer_size() for transport in self._transports}
        self._transports = {transport: None for transport, size in sizes.items() if size}
        self._bytes = sum(sizes.values())
        if self._bytes <= settings.API_UNREAD_BYTES_MAX:
            return
        logger.warning("%d clients do not read their answers: the first are cut off", len(self._transports))
        for transport in list(self._transports):
            if self._bytes <= settings.API_UNREAD_BYTES_MAX // 2:
                break
            self._bytes -= sizes[transport]
            del self._transports[transport]
            transport.abort()


class HeldAnswer:
    """A transport that keeps what is written until the event loop has come round: one packet for head and body.

    uvicorn writes them one after the other and uvloop sends what is written at once, so that the client wakes up
    twice. Replies come many at a time: all their answers leave in one go, when the last of them is made.

    `on_close` runs in place of closing the transport, after everything was written.
    """

    def __init__(self, transport: asyncio.Transport, on_close: Callable[[], object] | None = None) -> None:
        self.transport = transport
        self._on_close = on_close or transport.close
        self.parts: list[bytes] = []  # written, and not sent yet

    def write(self, data: bytes) -> None:
        if not self.parts:
            _written.add(self)
        self.parts.append(data)

    def send(self) -> None:
        """Write what is kept now; the client may have left meanwhile."""
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
        except Exception:  # the others' answers must leave all the same
            logger.exception("an answer could not be sent")
            answer.transport.abort()


_written = TurnBatcher(_send_all)
_unread = Unread()
