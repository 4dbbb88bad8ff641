"""Ends HTTP connections: refused, too slow, closed for another one, or after the last answer.

A connection is in one of six phases:

    HEAD     bytes are kept until a head is complete; then the parser gets it in one piece
    BODY     a known number of bytes of a body is still to come
    CHUNKS   a chunked body is still to come
    WORKING  a request is complete; bytes that follow (pipelining) are kept, and reading stops
    UNREAD   the client has not read its answers; bytes that follow are kept likewise
    LINGER   the last answer was sent; bytes that follow are discarded for a while, so that the
             client can read the answer
"""

import asyncio
import enum
import logging
from typing import Any, cast

from django.conf import settings
from django.http import HttpResponse
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from hosting.server.answers import HeldAnswer
from hosting.server.connections import Place
from web.errors import ErrorResponse, incomplete_request, request_timeout

logger = logging.getLogger(__name__)


class _Phase(enum.IntEnum):
    HEAD = 0
    BODY = 1
    CHUNKS = 2
    WORKING = 3
    UNREAD = 4
    LINGER = 5


# Global names are faster than look-ups in the enum, and each request needs several.
HEAD, BODY, CHUNKS, WORKING, UNREAD, LINGER = _Phase


class OneAtATime(FlowControl):
    """Keeps reading paused while `is_full`, even if uvicorn resumes it for the application."""

    is_full = False

    def resume_reading(self) -> None:
        if not self.is_full:
            super().resume_reading()


class EndingProtocol(HttpToolsProtocol):
    """One connection's place, deadline and end. The subclass handles requests."""

    _held: HeldAnswer
    flow: OneAtATime

    def __init__(self, place: Place, **uvicorn: Any) -> None:
        super().__init__(**uvicorn)
        self._place: Place | None = place
        place.owner = self

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._held = HeldAnswer(transport, self._close)
        super().connection_made(cast("asyncio.Transport", self._held))
        self.flow = OneAtATime(self._held)  # type: ignore[arg-type]
        self._phase: _Phase = HEAD
        self._head = bytearray()  # The incomplete head of the next request.
        self._later: bytes = b""  # Bytes kept in the phases WORKING and UNREAD.
        self._left = 0  # Bytes of the body still to come, or in LINGER the most to be discarded.
        self._request_bytes = 0  # Memory of the request's head and body.
        self._client_is_done = False  # The client has shut down its sending side.

    def connection_lost(self, exc: Exception | None) -> None:
        if self._place is not None:
            self._place.leave()
        self._later = b""
        self._head.clear()
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override]
        """Note that the client sends no more.

        Return True to keep the connection open for answers.
        """
        self._client_is_done = True
        self._held.send()  # Send now, because the transport closes itself if this returns False.
        if self._place is None or self._phase == LINGER:
            return False
        if self._phase in (WORKING, UNREAD):
            self._mark_last_answer()
            return self._phase == WORKING or bool(self._later)
        if self._phase == HEAD and not self._head:
            return False
        self._refuse(incomplete_request())
        return True

    def _mark_last_answer(self) -> None:
        """Mark the next answer as the last one, if the client is done and no request is kept."""
        if self._client_is_done and self._phase == WORKING and not self._later:
            self.cycle.keep_alive = False

    def _refuse(self, answer: ErrorResponse) -> None:
        """Answer instead of the application, and close."""
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
            if cycle.response_started:
                self._held.transport.abort()
                return
        address = self.client[0] if self.client else "?"
        logger.warning("a request of %s was refused: %d %s", address, answer.status_code, answer.code)
        self._held.write(_answer_bytes(answer, self.server_state.default_headers))
        self._linger()
        self._held.send()

    def _close(self) -> None:
        """Close after the last answer. A client that is still sending gets time to read it."""
        self._held.send()
        transport = self._held.transport
        if self._phase == LINGER or transport.is_closing():
            return
        if self._phase == HEAD and not self._head and not self._client_is_done:
            transport.close()  # The connection is idle.
        elif self._client_is_done or (self._phase == WORKING and not self.flow.read_paused):
            transport.close()
        else:
            self._linger()

    def _linger(self) -> None:
        """Tell the client that there is no further answer, and discard further bytes.

        If the connection were closed with unread bytes, the system would reset it, and the client
        might lose the answer.
        """
        self._phase = LINGER
        self._left = settings.DISCARDED_BODY_BYTES_MAX
        self._head.clear()
        self._later = b""
        self.flow.is_full = False
        self._held.send()
        transport = self._held.transport
        if transport.is_closing():
            return
        if self._place is not None:
            self._place.hold(0)
            self._place.wait()
            self._set_deadline(settings.DISCARDED_BODY_SECONDS_MAX)
        transport.write_eof()
        if self._client_is_done:
            transport.close()
        else:
            self.flow.resume_reading()

    def _discard(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left < 0:
            self._held.transport.abort()

    def shutdown(self) -> None:
        """Close for the server's stop, after answering a request that is in progress."""
        if self._phase in (HEAD, UNREAD, LINGER):
            self._held.close()
            self._held.transport.close()
        else:
            self.cycle.keep_alive = False

    # Called by the module `connections`

    def give_way(self) -> None:
        self._place = None
        self._held.send()
        self._held.transport.abort()

    def drop_received(self) -> None:
        """Drop the requests behind the current one. The current answer closes the connection."""
        if self._phase == WORKING and not self.cycle.response_started:
            self.cycle.keep_alive = False
            self._later = b""
            self._count_held(self._request_bytes)
        else:
            self._held.transport.abort()

    def miss_deadline(self) -> None:
        self._held.send()
        transport = self._held.transport
        if self._phase == LINGER or transport.is_closing() or transport.get_write_buffer_size():
            transport.abort()
        elif self._phase == HEAD and not self._head:
            transport.close()
        else:
            self._refuse(request_timeout())

    def _set_deadline(self, seconds: float) -> None:
        if self._place is not None:
            self._place.deadline = self.loop.time() + seconds

    def _count_held(self, size: int) -> None:
        if self._place is not None:
            self._place.hold(size)


def _answer_bytes(answer: HttpResponse, dated: list[tuple[bytes, bytes]]) -> bytes:
    headers = [b"%s: %s\r\n" % header for header in dated]
    headers += [f"{name}: {value}\r\n".encode("latin-1") for name, value in answer.items()]
    return b"".join([STATUS_LINE[answer.status_code], *headers, b"connection: close\r\n\r\n", answer.content])
