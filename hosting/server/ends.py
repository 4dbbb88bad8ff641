"""How an HTTP connection ends: refused, too slow, in favour of another one, or after its last answer.

A connection is in one of six phases:

    HEAD     bytes are kept until a head is whole; then the parser sees it, in one piece
    BODY     so many bytes are still to come; CHUNKS: a chunked body is
    WORKING  a request is complete; what the client sends meanwhile (pipelining) waits, and reading stops
    UNREAD   the client has not taken the answers so far; what it sends meanwhile waits likewise
    LINGER   the last answer was sent; what still comes is thrown away for a while, so that the client can read it
"""

import asyncio
import enum
import logging
from typing import cast

from django.conf import settings
from django.http import HttpResponse
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from hosting.server.answers import HeldAnswer
from hosting.server.connections import Place, current_connections
from web.errors import ErrorResponse, incomplete_request, request_timeout

logger = logging.getLogger(__name__)


class Phase(enum.IntEnum):
    HEAD = 0
    BODY = 1
    CHUNKS = 2
    WORKING = 3
    UNREAD = 4
    LINGER = 5


# Global names: a look-up in the enum takes longer, and each request needs several.
HEAD, BODY, CHUNKS, WORKING, UNREAD, LINGER = Phase


class OneAtATime(FlowControl):
    """Reading stays paused while `is_full`, although uvicorn resumes it whenever the application asks for more."""

    is_full = False

    def resume_reading(self) -> None:
        if not self.is_full:
            super().resume_reading()


class EndingProtocol(HttpToolsProtocol):
    """One connection's place among all, its deadline, and its end. Requests are the subclass's."""

    _place: Place | None = None
    _held: HeldAnswer
    flow: OneAtATime

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._held = HeldAnswer(transport, self._close)
        super().connection_made(cast("asyncio.Transport", self._held))
        self.flow = OneAtATime(self._held)  # type: ignore[arg-type]
        self._phase: Phase = HEAD
        self._head = bytearray()  # of the next request, not whole yet
        self._later: bytes = b""  # came while a request is worked on, or answers are not taken
        self._left = 0  # bytes of the body, or of what may be thrown away
        self._request_bytes = 0  # that head and body of the request take in memory
        self._client_is_done = False  # it has shut down its sending side
        address = self.client[0] if self.client else ""
        self._place = current_connections().admit(self, address)
        if self._place is None:
            transport.abort()
            return
        self._place.deadline = self.loop.time() + settings.REQUEST_HEAD_SECONDS_MAX

    def connection_lost(self, exc: Exception | None) -> None:
        if self._place is not None:
            self._place.leave()
        self._later = b""
        self._head.clear()
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override]
        """The client sends no more. It still gets its answers: true keeps our side open."""
        self._client_is_done = True
        self._held.send()  # if we return false, the transport closes itself
        if self._place is None or self._phase == LINGER:
            return False
        if self._phase in (WORKING, UNREAD):
            self._last_request_has_come()
            return self._phase == WORKING or bool(self._later)
        if self._phase == HEAD and not self._head:
            return False
        self._refuse(incomplete_request())
        return True

    def _last_request_has_come(self) -> None:
        """If the client is done, and nothing waits, then the answer to come is the last one, and says so."""
        if self._client_is_done and self._phase == WORKING and not self._later:
            self.cycle.keep_alive = False

    def _refuse(self, answer: ErrorResponse) -> None:
        """Answer in place of the application, and close."""
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
        """Close after the last answer; a client that is still sending gets time to read it."""
        self._held.send()
        transport = self._held.transport
        if self._phase == LINGER or transport.is_closing():
            return
        if self._phase == HEAD and not self._head and not self._client_is_done:
            transport.close()  # it is idle
        elif self._client_is_done or (self._phase == WORKING and not self.flow.read_paused):
            transport.close()
        else:
            self._linger()

    def _linger(self) -> None:
        """Tell the client that no more comes, and read on without looking at it.

        Closing while there is something to read makes the system reset the connection, and the client may lose
        the answer.
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
            self._wait_until(settings.DISCARDED_BODY_SECONDS_MAX)
        transport.write_eof()
        if self._client_is_done:
            transport.close()
        else:
            self.flow.resume_reading()

    def _throw_away(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left < 0:
            self._held.transport.abort()

    def shutdown(self) -> None:
        """The server stops: a request that is under way is answered first."""
        if self._phase in (HEAD, UNREAD, LINGER):
            self._held.close()
            self._held.transport.close()
        else:
            self.cycle.keep_alive = False

    # What the place asks for

    def give_way(self) -> None:
        self._place = None
        self._held.send()
        self._held.transport.abort()

    def drop_received(self) -> None:
        """The request that is worked on is answered. Those behind it are not, and the answer says so."""
        if self._phase == WORKING and not self.cycle.response_started:
            self.cycle.keep_alive = False
            self._later = b""
            self._hold(self._request_bytes)
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

    def _wait_until(self, seconds: float) -> None:
        if self._place is not None:
            self._place.deadline = self.loop.time() + seconds

    def _hold(self, size: int) -> None:
        if self._place is not None:
            self._place.hold(size)


def _answer_bytes(answer: HttpResponse, dated: list[tuple[bytes, bytes]]) -> bytes:
    headers = [b"%s: %s\r\n" % header for header in dated]
    headers += [f"{name}: {value}\r\n".encode("latin-1") for name, value in answer.items()]
    return b"".join([STATUS_LINE[answer.status_code], *headers, b"connection: close\r\n\r\n", answer.content])
