"""One HTTP connection: bounded heads and bodies, deadlines, one request at a time, and answers in our shape.

A connection is in one of five phases:

    HEAD     bytes are kept until a head is whole; then the parser sees it, in one piece
    BODY     so many bytes are still to come; CHUNKS: a chunked body is
    WORKING  a request is complete; what the client sends meanwhile (pipelining) waits, and reading stops
    LINGER   the last answer was sent; what still comes is thrown away for a while, so that the client can read it

Only the first four bytes that are missing to a head's end are looked for again with each packet, so that a head in
single bytes costs what it weighs. A complete order costs two microseconds more than with uvicorn's own class.
"""

import asyncio
import enum
import logging
from typing import Any, cast
from urllib.parse import unquote

import httptools
from django.conf import settings
from django.http import HttpResponse
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from exchange_site.errors import (
    ErrorResponse,
    chunk_overhead,
    head_too_large,
    incomplete_request,
    malformed_request,
    request_timeout,
)
from exchange_site.server.answers import HeldAnswer
from exchange_site.server.chunks import ChunkedBody, ChunkOverhead, InvalidChunk
from exchange_site.server.connections import NEVER, Place, current_connections
from exchange_site.server.heads import (
    FRAMING_HEADERS,
    HEAD_CHECKED,
    Framing,
    Refused,
    check_beginning,
    check_bounds,
    read_framing,
    split_target,
)

logger = logging.getLogger(__name__)

HEAD_END = b"\r\n\r\n"
WEBSOCKET_LINE_BYTES_MAX = 8_000  # of a header of a handshake; the library takes 8,192 with name and line end
SMALL_BYTES = 4 * 1024  # a request that came whole and is not larger is not counted among what is held
_BODY_WAITS_BYTES_MAX = 64 * 1024  # of a body, until the application takes some


_KEEP_ALIVE_SECONDS = settings.API_KEEP_ALIVE_SECONDS  # looked up once: a look-up takes half a microsecond


class Phase(enum.IntEnum):
    HEAD = 0
    BODY = 1
    CHUNKS = 2
    WORKING = 3
    LINGER = 4


# Global names: a look-up in the enum takes longer, and each request needs several.
HEAD, BODY, CHUNKS, WORKING, LINGER = Phase


class RequestProtocol(HttpToolsProtocol):
    """uvicorn's, whose requests come bounded and one at a time."""

    _place: Place | None = None
    _held: HeldAnswer

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._held = HeldAnswer(transport, self._close)
        super().connection_made(cast("asyncio.Transport", self._held))
        self._phase: Phase = HEAD
        self._head = bytearray()  # of the next request, not whole yet
        self._empty_bytes = 0  # of empty lines before a head
        self._later: bytes = b""  # came while a request is worked on
        self._left = 0  # bytes of the body, or of what may be thrown away
        self._body_bytes = 0
        self._chunks = ChunkedBody()  # each body gets its own
        self._framing_headers: list[tuple[bytes, bytes]] = []
        self._client_is_done = False  # it has shut down its sending side
        self._has_asked = False  # at least one request was complete
        self._keeps_alive = True
        self._feeds_parser = True  # with the body, which it expects
        self._opens_websocket = False
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

    # What comes

    def data_received(self, data: bytes) -> None:
        if self._place is None:
            return
        while data:
            phase = self._phase
            try:
                if phase == HEAD:
                    data = self._take_head(data)
                elif phase == BODY:
                    data = self._take_body(data)
                elif phase == CHUNKS:
                    data = self._take_chunks(data)
                elif phase == WORKING:
                    self._keep_for_later(data)
                    return
                else:
                    self._throw_away(data)
                    return
            except Refused as refused:
                self._refuse(refused.answer)
                if self._phase != LINGER:
                    return

    def _take_head(self, data: bytes) -> bytes:
        """Take what belongs to the next head, and begin its request if it is whole. Returns the rest."""
        if not self._head:
            if data[0] in HEAD_END:  # empty lines between requests are allowed (RFC 9112, section 2.2)
                size = len(data)
                data = data.lstrip(HEAD_END)
                self._empty_bytes += size - len(data)
                if self._empty_bytes > settings.REQUEST_HEAD_BYTES_MAX:
                    raise Refused(head_too_large())
                if not data:
                    return data
            end = data.find(HEAD_END) + len(HEAD_END)
            if end >= len(HEAD_END):
                whole = end == len(data)
                self._begin_request(data if whole else data[:end])
                return self._after_head(b"" if whole else data[end:])
            if self._has_asked:  # the first head's deadline runs from the connection's beginning
                self._wait_until(settings.REQUEST_HEAD_SECONDS_MAX)
        searched = max(0, len(self._head) - len(HEAD_END) + 1)
        self._head += data
        end = self._head.find(HEAD_END, searched) + len(HEAD_END)
        if end < len(HEAD_END):
            check_beginning(self._head)
            self._hold(len(self._head))
            return b""
        head, rest = bytes(self._head[:end]), bytes(self._head[end:])
        self._head.clear()
        self._begin_request(head)
        return self._after_head(rest)

    def _begin_request(self, head: bytes) -> None:
        """Parse a whole head and start the application. Raises Refused."""
        if not 65 <= head[0] <= 90:
            raise Refused(malformed_request())
        url, version = check_bounds(head)
        self._framing_headers = []
        self._empty_bytes = 0
        upgrade = False
        try:
            self.parser.feed_data(head)
        except httptools.HttpParserUpgrade:
            upgrade = True
        except httptools.HttpParserError:
            raise Refused(malformed_request()) from None
        framing = read_framing(version, self._framing_headers)
        self.url = url
        method = self.parser.get_method()
        scope = self.scope
        scope["method"] = method.decode("ascii")
        scope["http_version"] = version
        scope[HEAD_CHECKED] = True  # type: ignore[literal-required]
        if upgrade:
            if self._is_handshake(method, version, framing):
                self._opens_websocket = True
                return
            # Asked for another protocol, which is not spoken here: an ordinary request (RFC 9110, section 7.8).
            self.parser = httptools.HttpRequestParser(self)
        path, query = split_target(url)
        text = path.decode("ascii")
        scope["path"] = unquote(text) if "%" in text else text
        scope["raw_path"] = path
        scope["query_string"] = query
        self.cycle = RequestResponseCycle(
            scope=scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=framing.expects_continue and (framing.chunked or framing.length > 0),
            keep_alive=version != "1.0" and self._keeps_alive,
            on_response=self.on_response_complete,
        )
        self._feeds_parser = not upgrade and not framing.chunked
        self._body_bytes = 0
        if framing.chunked:
            self._phase = CHUNKS
            self._chunks = ChunkedBody()
        elif framing.length:
            self._phase = BODY
            self._left = framing.length
        self._start_asgi_task(self.cycle, self.app)

    def _after_head(self, rest: bytes) -> bytes:
        """Go on behind a head: with a body, with the work, or as a WebSocket."""
        if self._opens_websocket:
            self._become_websocket(rest)
            return b""
        if self._phase == HEAD:
            self._complete_request()
        elif self._phase == BODY and self._left == len(rest) <= SMALL_BYTES:  # an order, as a rule
            if self._feeds_parser:
                self.parser.feed_data(rest)
            self.cycle.waiting_for_100_continue = False
            self.cycle.body += rest
            self._complete_request()
            return b""
        elif self._phase == CHUNKS or self._left > len(rest):
            self._wait_until(settings.REQUEST_BODY_SECONDS_MAX)
        return rest

    def _take_body(self, data: bytes) -> bytes:
        rest = b""
        if len(data) > self._left:
            data, rest = data[: self._left], data[self._left :]
        self._left -= len(data)
        if self._feeds_parser:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserError:
                raise Refused(malformed_request()) from None
        self._deliver(data)
        if not self._left:
            self._complete_request()
        return rest

    def _take_chunks(self, data: bytes) -> bytes:
        chunks = self._chunks
        try:
            content, rest = chunks.read(data)
        except InvalidChunk:
            raise Refused(incomplete_request()) from None
        except ChunkOverhead:
            raise Refused(chunk_overhead()) from None
        if content:
            self._deliver(content)
        if chunks.is_complete:
            self.parser = httptools.HttpRequestParser(self)  # the old one still expects this body
            self._complete_request()
        return rest

    def _deliver(self, content: bytes) -> None:
        """Hand a part of the body to the application."""
        cycle = self.cycle
        cycle.waiting_for_100_continue = False  # the client did not wait for it
        self._body_bytes += len(content)
        if cycle.response_complete:
            return
        cycle.body += content
        if len(cycle.body) > _BODY_WAITS_BYTES_MAX:
            self.flow.pause_reading()
        if self._body_bytes > SMALL_BYTES:
            self._hold(min(self._body_bytes, settings.PAGE_FORM_BYTES_MAX))  # what is beyond is thrown away
        cycle.message_event.set()

    def _complete_request(self) -> None:
        self._phase = WORKING
        self._has_asked = True
        cycle = self.cycle
        cycle.more_body = False
        cycle.message_event.set()
        if self._place is not None:
            self._place.deadline = NEVER
            self._place.work()
        if self._client_is_done and not self._later:
            cycle.keep_alive = False

    def _keep_for_later(self, data: bytes) -> None:
        """The next requests wait until this one is answered; nothing more is read meanwhile."""
        if self.cycle.keep_alive:
            self._later += data
            self._hold(len(self._later) + self._body_bytes)
        self.flow.pause_reading()

    def _throw_away(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left < 0:
            self._held.transport.abort()

    def eof_received(self) -> bool:  # type: ignore[override]
        """The client sends no more. It still gets its answers: true keeps our side open."""
        self._client_is_done = True
        self._held.send()  # if we return false, the transport closes itself
        if self._place is None or self._phase == LINGER:
            return False
        if self._phase == WORKING:
            if not self._later:
                self.cycle.keep_alive = False
            return True
        if self._phase == HEAD and not self._head:
            return False
        self._refuse(incomplete_request())
        return True

    # The parser's word

    def on_url(self, url: bytes) -> None:
        """The target is read from the head."""

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name in FRAMING_HEADERS:
            self._framing_headers.append((name, value))
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """The request begins once the parser has returned; by then it has forgotten this."""
        self._keeps_alive = self.parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:
        """The body is handed on as it comes."""

    def on_message_complete(self) -> None:
        """Its end is known from its framing."""

    # The answer

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        place = self._place
        if place is None or self._phase == LINGER or self._held.transport.is_closing():
            return
        if self._phase != WORKING:  # it was answered before it had come: what follows can't be told from it
            self._close()
            return
        self._phase = HEAD
        place.deadline = self.loop.time() + _KEEP_ALIVE_SECONDS
        place.wait()
        if place.bytes_held:
            place.hold(0)
        if self._later:
            data, self._later = self._later, b""
            self.data_received(data)
        if not self._later:
            self.flow.resume_reading()
            if self._client_is_done and self._phase == HEAD:
                if self._head:
                    self._refuse(incomplete_request())
                else:
                    self._close()

    def send_400_response(self, msg: str) -> None:
        self._refuse(malformed_request())

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
        self._held.write(_answer_bytes(answer))
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

    def shutdown(self) -> None:
        """The server stops: a request that is under way is answered first."""
        if self._phase in (HEAD, LINGER):
            self._held.close()
            self._held.transport.close()
        else:
            self.cycle.keep_alive = False

    # Deadlines and places

    def give_way(self) -> None:
        self._place = None
        self._held.send()
        self._held.transport.abort()

    def miss_deadline(self) -> None:
        self._held.send()
        transport = self._held.transport
        if self._phase == LINGER or transport.get_write_buffer_size():
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

    # WebSockets

    def _is_handshake(self, method: bytes, version: str, framing: Framing) -> bool:
        """Whether the library can take it; other requests that name the protocol are ordinary ones."""
        return (
            (method, version) == (b"GET", "1.1")
            and not (framing.chunked or framing.length)
            and self._should_upgrade()
        )

    def _become_websocket(self, rest: bytes) -> None:
        if any(len(name) + len(value) > WEBSOCKET_LINE_BYTES_MAX for name, value in self.headers):
            self._refuse(head_too_large())
            return
        place = cast("Place", self._place)
        place.deadline = NEVER
        place.become_websocket()
        self._place = None
        self._held.send()
        self.transport = self._held.transport
        self.connections.discard(self)
        make_protocol = cast("Any", self.ws_protocol_class)
        protocol = make_protocol(config=self.config, server_state=self.server_state, app_state=self.app_state)
        protocol.place = place
        head = [b"GET ", self.url, b" HTTP/1.1\r\n"]
        for name, value in self.headers:
            head += [name, b": ", value, b"\r\n"]
        protocol.connection_made(self.transport)
        self.transport.set_protocol(protocol)
        protocol.open(b"".join([*head, b"\r\n"]))
        if rest:
            protocol.data_received(rest)


def _answer_bytes(answer: HttpResponse) -> bytes:
    headers = [f"{name}: {value}\r\n".encode("latin-1") for name, value in answer.items()]
    return b"".join([STATUS_LINE[answer.status_code], *headers, b"connection: close\r\n\r\n", answer.content])
