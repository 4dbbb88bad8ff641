"""One WebSocket connection. Limits its frames per second and output, and formats its refusals.

If the application asks for it, the connection is also watched: see peer_watch.py.
"""

import asyncio
from collections.abc import Callable
from typing import Any, cast

from django.conf import settings
from uvicorn._types import ASGIReceiveEvent, ASGISendEvent
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import STATUS_PHRASES, WebSocketsSansIOProtocol
from websockets.datastructures import Headers
from websockets.frames import CloseCode, Frame
from websockets.http11 import Response

from hosting.server.connections import Place
from hosting.server.frames import FrameCounter
from hosting.server.peer_watch import PeerWatch
from streaming import COUNT_MESSAGE, LAST_WORDS, PACKET, TOO_MANY_FRAMES, WATCH_PEER
from streaming.packet import Packet
from streaming.unread import unread
from web.errors import ErrorResponse, handshake_refused, internal_error, upgrade_required

_DROPPED_BYTES_MAX = 1024 * 1024
MESSAGE_FRAMES_MAX = 1_000  # Frames of one message.
_FRAME_BYTES = 60  # Memory of one frame of a message, besides its content.
_CLOSING_SECONDS_MAX = 2.0  # A client with too many frames has this time to read the close.


class StreamProtocol(WebSocketsSansIOProtocol):
    """uvicorn's protocol with limits. At most one packet waits here, the others in the outbox."""

    place: Place | None = None
    _watch: PeerWatch | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conn.reject = _reject  # type: ignore[method-assign]
        self._frames = FrameCounter(settings.STREAM_MESSAGES_PER_SECOND_MAX)
        self._dropped_bytes = 0  # Bytes after the allowed frames.
        self._queued_bytes = 0  # Bytes of messages that wait for the application.
        self._late_pong = b""  # Answer to the last ping of a client that does not read.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._unread: list[Packet] = []  # Written but not read by the client yet.
        super().connection_made(transport)
        cast("asyncio.Transport", transport).set_write_buffer_limits(high=settings.API_UNSENT_BYTES)

    def open(self, head: bytes) -> None:
        """Start with the handshake request, whose limits were checked."""
        super().data_received(head)
        if not self.handshake_initiated:  # The library could not parse it.
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        if self._watch is not None:
            self._watch.hear()
        if self._frames.is_exceeded:
            self._discard(len(data))
            return  # A close was sent, so there is no further answer.
        allowed = self._frames.allow(data, self.loop.time())
        if allowed:
            super().data_received(data if allowed == len(data) else data[:allowed])
        if allowed < len(data):
            # The application receives this after the earlier messages, and answers them first.
            self.queue.put_nowait(
                cast("Any", {"type": "websocket.receive", "text": "", TOO_MANY_FRAMES: True})
            )
            self._discard(len(data) - allowed)
        self._count_unfinished()

    def _count_unfinished(self) -> None:
        """Count the bytes that wait for the application or for a message's end."""
        size = len(self.conn.reader.buffer) + self._queued_bytes
        if self.frames:
            size += sum(_FRAME_BYTES + len(frame) for frame in self.frames)
        if self.place is not None and size != self.place.bytes_held:
            self.place.hold(size)

    def drop_received(self) -> None:
        """Cut the client off, because its unfinished message takes too much memory."""
        self.transport.abort()

    def give_way(self) -> None:
        """Never called, because WebSockets do not wait."""

    def miss_deadline(self) -> None:
        """Never called, because WebSockets have no deadline."""

    def handle_cont(self, event: Frame) -> None:
        if len(self.frames) >= MESSAGE_FRAMES_MAX and not event.fin:
            self._close_invalid(CloseCode.MESSAGE_TOO_BIG)
        else:
            super().handle_cont(event)

    def send_receive_event_to_app(self) -> None:
        """Close on invalid UTF-8, for which uvicorn would log a stack trace."""
        if self.curr_msg_data_type == "text" and not _is_text(self.frames):
            self._close_invalid(CloseCode.INVALID_DATA)
        else:
            self._queued_bytes += sum(map(len, self.frames))
            super().send_receive_event_to_app()

    async def receive(self) -> ASGIReceiveEvent:
        event = await super().receive()
        if self._queued_bytes and self.queue.empty():
            self._queued_bytes = 0
            self._count_unfinished()
        return event

    def _close_invalid(self, code: CloseCode) -> None:
        """Close because of an invalid message."""
        self.frames = []
        if not self.close_sent:
            self.conn.send_close(code)
            self.handle_parser_exception()

    def _discard(self, size: int) -> None:
        """Discard bytes, to notice the client's close. Stop reading after _DROPPED_BYTES_MAX."""
        self._dropped_bytes += size
        is_too_much = self._dropped_bytes > _DROPPED_BYTES_MAX
        if is_too_much and not self.read_paused and not self.transport.is_closing():
            self.read_paused = True
            self.transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.place is not None:
            self.place.leave()
        if self._watch is not None:
            self._watch.stop()
        self._release_unread()
        unread.is_gone(self.transport)
        super().connection_lost(exc)

    def handle_ping(self) -> None:
        """Answer a ping.

        If the client does not read, answer only its last (RFC 6455, section 5.5.3).
        """
        pongs = self.conn.data_to_send()
        if self.writable.is_set():
            self.transport.write(b"".join(pongs))
        elif pongs:
            self._late_pong = pongs[-1]

    def resume_writing(self) -> None:
        pong, self._late_pong = self._late_pong, b""
        if pong and not self.close_sent and not self.transport.is_closing():
            self.transport.write(pong)
        self._release_unread()
        super().resume_writing()

    async def run_asgi(self) -> None:
        self.scope["extensions"][PACKET] = {
            COUNT_MESSAGE: lambda: self._frames.count_message(self.loop.time()),
            WATCH_PEER: self._watch_peer,
        }
        await super().run_asgi()

    # --- Methods that peer_watch.py calls ---------------------------------------------------------

    def _watch_peer(self, on_silent: Callable[[], object]) -> None:
        """Call `on_silent` once if nothing is received for too long, in spite of pings."""
        if self._watch is None:
            self._watch = PeerWatch(self, self.loop, on_silent)

    def send_ping(self) -> None:
        if not self.close_sent and not self.transport.is_closing():
            self.conn.send_ping(b"")
            self.transport.write(b"".join(self.conn.data_to_send()))

    def unsent_bytes(self) -> int:
        return self.transport.get_write_buffer_size()

    def is_reading(self) -> bool:
        return not self.read_paused

    async def send(self, message: ASGISendEvent) -> None:
        """Send a message or a packet of messages. A packet is done once the client has read it.

        The last message is queued behind pending data. A client that keeps reading receives it. The
        application does not wait.
        """
        packet = cast("Packet | None", message.get(PACKET))
        if packet is not None:
            await self._send_packet(packet)
            return
        closes = message["type"] == "websocket.close"
        if closes or LAST_WORDS in message:
            self.writable.set()
            if self._unread:
                unread.was_told(self.transport)
        await super().send(message)
        if closes and self._frames.is_exceeded and not self.transport.is_closing():
            # The client's close would not be found, because its further frames are not parsed.
            self.transport.write_eof()
            self.loop.call_later(_CLOSING_SECONDS_MAX, self.transport.abort)

    async def _send_packet(self, packet: Packet) -> None:
        await self.writable.wait()
        if self.disconnected or self.close_sent or self.transport.is_closing():
            raise ClientDisconnected
        self.transport.write(packet.frames)
        if not self.writable.is_set():
            self._unread.append(packet)
            unread.hold(packet)
            await self.writable.wait()

    def _release_unread(self) -> None:
        unread.release_all(self._unread)
        self._unread.clear()


def _is_text(frames: list[bytes]) -> bool:
    try:
        b"".join(frames).decode()
    except UnicodeDecodeError:
        return False
    return True


def _reject(status: int, text: str) -> Response:
    """Return the answer to a refused handshake in the format of all errors."""
    answer: ErrorResponse
    if status == 403:
        answer = handshake_refused()
    elif status < 500:
        answer = upgrade_required()
    else:
        answer = internal_error()
    headers = Headers([*answer.items(), ("Connection", "close")])
    return Response(answer.status_code, STATUS_PHRASES[answer.status_code], headers, answer.content)
