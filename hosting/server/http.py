"""One HTTP connection's requests: limited heads and bodies, deadlines, one request at a time.

hosting/server/ends.py has the phases of a connection, and its end.

With each packet the search for a head's end goes back by three bytes only, so a head sent in single
bytes takes linear time. The kept bytes of a request are counted. Once it is answered, none are
kept.
"""

import asyncio
from typing import Any, cast
from urllib.parse import unquote

from django.conf import settings

from hosting.server.chunks import ChunkedBody, ChunkOverhead, InvalidChunk
from hosting.server.connections import NEVER, Place
from hosting.server.cycle import WholeAnswerCycle
from hosting.server.ends import BODY, CHUNKS, HEAD, LINGER, UNREAD, WORKING, EndingProtocol
from hosting.server.heads import HEAD_CHECKED, RequestRefused, check_beginning, split_target
from hosting.server.parser import HeadParser
from web.errors import chunk_overhead, head_too_large, incomplete_request, too_busy
from web.handler import HAS_LEFT

_HEAD_END = b"\r\n\r\n"
# Name and value of a handshake's header. The library allows 8,192 bytes for the whole line.
_WEBSOCKET_LINE_BYTES_MAX = 8_000
# A complete request up to this size is not counted among the kept bytes.
_SMALL_BYTES = 6 * 1024
_HEADER_BYTES = 200  # Memory of a header line, besides its text.
# If more of a body waits for the application, reading is paused.
_BODY_WAITS_BYTES_MAX = 64 * 1024
# This is read once, because reading a setting takes half a microsecond.
_KEEP_ALIVE_SECONDS = settings.API_KEEP_ALIVE_SECONDS


class RequestProtocol(EndingProtocol):
    """uvicorn's protocol with limits. It handles one request at a time."""

    parser: HeadParser  # type: ignore[assignment]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.parser = HeadParser()
        self._empty_bytes = 0  # Bytes of empty lines before a head.
        self._chunks = _NO_CHUNKS  # Each chunked body gets its own.
        self._has_had_request = False  # Whether a request was complete.
        self._opens_websocket = False
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.parser.close()
        super().connection_lost(exc)

    # Received bytes

    def data_received(self, data: bytes) -> None:
        if self._place is None:
            return
        while data:
            phase = self._phase
            try:
                if phase == HEAD:
                    data = self._read_head(data)
                elif phase == BODY:
                    data = self._read_body(data)
                elif phase == CHUNKS:
                    data = self._read_chunks(data)
                elif phase == LINGER:
                    self._discard(data)
                    return
                else:
                    self._keep_for_later(data)
                    return
            except RequestRefused as refused:
                self._refuse(refused.answer)
                if self._phase != LINGER:
                    return

    def _read_head(self, data: bytes) -> bytes:
        """Read the next head, and begin its request if it is complete. Return the rest."""
        if self._held.parts:
            self._held.send()  # This finds out whether the client reads its answers.
            if self._phase != HEAD:
                return data
        if not self._head:
            if data[0] in _HEAD_END:  # RFC 9112, section 2.2, allows empty lines between requests.
                size = len(data)
                data = data.lstrip(_HEAD_END)
                self._empty_bytes += size - len(data)
                if self._empty_bytes > settings.REQUEST_HEAD_BYTES_MAX:
                    raise RequestRefused(head_too_large())
                if not data:
                    return data
            end = data.find(_HEAD_END) + len(_HEAD_END)
            if end >= len(_HEAD_END):
                whole = end == len(data)
                self._begin_request(data if whole else data[:end])
                return self._continue_after_head(b"" if whole else data[end:])
            # The first head's deadline was set when the connection opened.
            if self._has_had_request:
                self._set_deadline(settings.REQUEST_HEAD_SECONDS_MAX)
        searched = max(0, len(self._head) - len(_HEAD_END) + 1)
        self._head += data
        end = self._head.find(_HEAD_END, searched) + len(_HEAD_END)
        if end < len(_HEAD_END):
            check_beginning(self._head)
            self._count_held(len(self._head))
            return b""
        head, rest = bytes(self._head[:end]), bytes(self._head[end:])
        self._head.clear()
        self._begin_request(head)
        return self._continue_after_head(rest)

    def _begin_request(self, head: bytes) -> None:
        """Parse a whole head and start the application. Raises RequestRefused."""
        self._empty_bytes = 0
        parser = self.parser
        parser.parse(head)
        version, framing, url = parser.version, parser.framing, parser.url
        if parser.offers_protocol and self._is_handshake():
            self._opens_websocket = True
            return
        path, query = split_target(url)
        text = path.decode("ascii")
        self._request_bytes = size = len(head) + _HEADER_BYTES * len(parser.headers)
        if size > _SMALL_BYTES:
            self._count_held(size)
        self.cycle = WholeAnswerCycle(
            scope={
                "type": "http",
                "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
                "http_version": version,
                "server": self.server,
                "client": self.client,
                "scheme": cast("Any", self.scheme),
                "method": parser.method,
                "root_path": "",
                "path": unquote(text) if "%" in text else text,
                "raw_path": path,
                "query_string": query,
                "headers": parser.headers,
                "state": {},
                HEAD_CHECKED: True,  # type: ignore[misc]
            },
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=framing.expects_continue and (framing.chunked or framing.length > 0),
            keep_alive=version != "1.0" and parser.keeps_alive,
            on_response=self.on_response_complete,
        )
        if parser.method != "POST":  # No POST waits for a turn, so orders do not pay for this.
            self.cycle.scope[HAS_LEFT] = self.cycle.has_left  # type: ignore[literal-required]
        if framing.chunked:
            self._phase = CHUNKS
            self._chunks = ChunkedBody()
        elif framing.length:
            self._phase = BODY
            self._left = framing.length
        self._start_asgi_task(self.cycle, self.app)

    def _continue_after_head(self, rest: bytes) -> bytes:
        """Continue after a head: read the body, complete the request, or open a WebSocket."""
        if self._opens_websocket:
            self._become_websocket(rest)
            return b""
        if self._phase == HEAD:
            self._complete_request()
        elif self._phase == BODY and self._left == len(rest) <= _SMALL_BYTES:  # Usually an order.
            self.parser.skip_body(rest)
            self.cycle.waiting_for_100_continue = False
            self.cycle.body += rest
            self._complete_request()
            return b""
        elif self._phase == CHUNKS or self._left > len(rest):
            self._set_deadline(settings.REQUEST_BODY_SECONDS_MAX)
        return rest

    def _read_body(self, data: bytes) -> bytes:
        rest = b""
        if len(data) > self._left:
            data, rest = data[: self._left], data[self._left :]
        self._left -= len(data)
        self.parser.skip_body(data)
        self._deliver(data)
        if not self._left:
            self._complete_request()
        return rest

    def _read_chunks(self, data: bytes) -> bytes:
        chunks = self._chunks
        try:
            content, rest = chunks.read(data)
        except InvalidChunk:
            raise RequestRefused(incomplete_request()) from None
        except ChunkOverhead:
            raise RequestRefused(chunk_overhead()) from None
        if content:
            self._deliver(content)
        if chunks.is_complete:
            self._complete_request()
        return rest

    def _deliver(self, content: bytes) -> None:
        """Pass a part of the body to the application."""
        cycle = self.cycle
        cycle.waiting_for_100_continue = False  # The client did not wait for 100.
        if cycle.response_complete:
            return
        # Bytes beyond the largest form are discarded, so they take no memory.
        self._request_bytes = min(self._request_bytes + len(content), settings.PAGE_FORM_BYTES_MAX)
        cycle.body += content
        if len(cycle.body) > _BODY_WAITS_BYTES_MAX:
            self.flow.pause_reading()
        if self._request_bytes > _SMALL_BYTES:
            self._count_held(self._request_bytes)
        cycle.message_event.set()

    def _complete_request(self) -> None:
        self._phase = WORKING
        self._has_had_request = True
        cycle = self.cycle
        cycle.more_body = False
        cycle.message_event.set()
        if self._place is not None:
            self._place.deadline = NEVER
            self._place.work()

    # Bytes that arrive too early

    def _keep_for_later(self, data: bytes) -> None:
        """Keep the next requests until this one is answered, and stop reading."""
        if self._phase == UNREAD or self.cycle.keep_alive:
            self._later += data
            self._count_held(len(self._later) + self._request_bytes)
        self.flow.pause_reading()
        self.flow.is_full = True

    def _resume_requests(self) -> None:
        """Continue with the kept bytes, and resume reading."""
        data, self._later = self._later, b""
        self.flow.is_full = False
        self.data_received(data)
        self.flow.resume_reading()
        if not self._client_is_done:
            return
        if self._phase == HEAD and not self._head:
            self._close()
        elif self._phase in (HEAD, BODY, CHUNKS):
            self._refuse(incomplete_request())
        else:
            self._mark_last_answer()

    def pause_writing(self) -> None:
        """Handle no further request until the client has read the written bytes."""
        super().pause_writing()
        if self._phase == HEAD:
            self._phase = UNREAD

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._phase == UNREAD:
            self._phase = HEAD
            self._resume_requests()

    # The answer

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        place = self._place
        if place is None or self._phase == LINGER:
            return
        is_closing = self._held.transport.is_closing()
        if self._phase != WORKING and not is_closing:
            self._close()  # The body has not ended, so the next request can't be found.
            return
        place.deadline = self.loop.time() + _KEEP_ALIVE_SECONDS
        place.wait()
        if is_closing:
            return  # The connection ends once the client has read the answer.
        self.cycle = None  # type: ignore[assignment]
        self.parser.forget()
        self._request_bytes = 0
        self._phase = HEAD
        if place.bytes_held:
            place.hold(0)
        if self._later:
            self._held.send()
            if self._phase == HEAD:
                self._resume_requests()
        elif self.flow.read_paused:
            self.flow.is_full = False
            self.flow.resume_reading()

    # WebSockets

    def _is_handshake(self) -> bool:
        """Return whether the WebSocket library can handle the request.

        Other requests with an Upgrade header are answered as HTTP (RFC 9110, section 7.8).
        """
        parser = self.parser
        if (parser.method, parser.version) != ("GET", "1.1"):
            return False
        if parser.framing.chunked or parser.framing.length:
            return False
        self.headers = parser.headers  # uvicorn looks for the protocol there.
        is_websocket = self._should_upgrade()
        self.headers = []
        return is_websocket

    def _become_websocket(self, rest: bytes) -> None:
        if any(len(name) + len(value) > _WEBSOCKET_LINE_BYTES_MAX for name, value in self.parser.headers):
            self._refuse(head_too_large())
            return
        place = cast("Place", self._place)
        if not place.become_websocket():
            self._refuse(too_busy())
            return
        place.deadline = NEVER
        self._place = None
        self._held.send()
        self.transport = self._held.transport
        self.connections.discard(self)
        make_protocol = cast("Any", self.ws_protocol_class)
        protocol = make_protocol(config=self.config, server_state=self.server_state, app_state=self.app_state)
        protocol.place = place
        place.owner = protocol
        head = [b"GET ", self.parser.url, b" HTTP/1.1\r\n"]
        for name, value in self.parser.headers:
            head += [name, b": ", value, b"\r\n"]
        self.parser.close()
        protocol.connection_made(self.transport)
        self.transport.set_protocol(protocol)
        protocol.open(b"".join([*head, b"\r\n"]))
        if rest:
            protocol.data_received(rest)


_NO_CHUNKS = ChunkedBody()
