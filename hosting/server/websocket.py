"""One WebSocket connection: a bounded number of frames a second, bounded output, refusals in our shape."""

import asyncio
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
from streaming import LAST_WORDS, PACKET, TOO_MANY_FRAMES
from streaming.packet import Packet
from streaming.unread import unread
from web.errors import ErrorResponse, handshake_refused, internal_error, upgrade_required

DROPPED_BYTES_MAX = 1024 * 1024
MESSAGE_FRAMES_MAX = 1_000  # that one message may come in
FRAME_BYTES = 60  # that a frame of a message takes in memory, beside its content
CLOSING_SECONDS_MAX = 2.0  # for a client that was closed for its frames to take the close


class StreamProtocol(WebSocketsSansIOProtocol):
    """uvicorn's. No more waits for a client in the server than one packet: the rest waits in its outbox."""

    place: Place | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conn.reject = _reject  # type: ignore[method-assign]
        self._frames = FrameCounter(settings.STREAM_MESSAGES_PER_SECOND_MAX)
        self._dropped_bytes = 0  # behind the frames that were allowed
        self._queued_bytes = 0  # of messages that wait for the application
        self._late_pong = b""  # to the last ping of a client that does not read

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._unread: list[Packet] = []  # written, and not taken by the client yet
        super().connection_made(transport)
        cast("asyncio.Transport", transport).set_write_buffer_limits(high=settings.API_UNSENT_BYTES)

    def open(self, head: bytes) -> None:
        """Begin with the request that asks for a WebSocket, whose bounds were checked."""
        super().data_received(head)
        if not self.handshake_initiated:  # the library could make nothing of it
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        if self._frames.is_exceeded:
            self._drop(len(data))
            return  # a close is on its way, and nothing else is answered
        allowed = self._frames.allow(data, self.loop.time())
        if allowed:
            super().data_received(data if allowed == len(data) else data[:allowed])
        if allowed < len(data):
            # The application hears it behind what came before, and answers that first.
            self.queue.put_nowait(
                cast("Any", {"type": "websocket.receive", "text": "", TOO_MANY_FRAMES: True})
            )
            self._drop(len(data) - allowed)
        self._count_unfinished()

    def _count_unfinished(self) -> None:
        """Count what waits for the application, or for a message's end, with that of all connections."""
        size = len(self.conn.reader.buffer) + self._queued_bytes
        if self.frames:
            size += sum(FRAME_BYTES + len(frame) for frame in self.frames)
        if self.place is not None and size != self.place.bytes_held:
            self.place.hold(size)

    def drop_received(self) -> None:
        """An unfinished message is given up, and the client with it."""
        self.transport.abort()

    def give_way(self) -> None:
        """WebSockets do not wait, so that nobody asks."""

    def miss_deadline(self) -> None:
        """They have no deadline."""

    def handle_cont(self, event: Frame) -> None:
        if len(self.frames) >= MESSAGE_FRAMES_MAX and not event.fin:
            self._fail(CloseCode.MESSAGE_TOO_BIG)
        else:
            super().handle_cont(event)

    def send_receive_event_to_app(self) -> None:
        """uvicorn shows a stack trace of what is not UTF-8."""
        if self.curr_msg_data_type == "text" and not _is_text(self.frames):
            self._fail(CloseCode.INVALID_DATA)
        else:
            self._queued_bytes += sum(map(len, self.frames))
            super().send_receive_event_to_app()

    async def receive(self) -> ASGIReceiveEvent:
        event = await super().receive()
        if self._queued_bytes and self.queue.empty():
            self._queued_bytes = 0
            self._count_unfinished()
        return event

    def _fail(self, code: CloseCode) -> None:
        """Close for what the client sent."""
        self.frames = []
        if not self.close_sent:
            self.conn.send_close(code)
            self.handle_parser_exception()

    def _drop(self, size: int) -> None:
        """Read on for a while, to see the client's end, but not for as long as it sends."""
        self._dropped_bytes += size
        is_too_much = self._dropped_bytes > DROPPED_BYTES_MAX
        if is_too_much and not self.read_paused and not self.transport.is_closing():
            self.read_paused = True
            self.transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.place is not None:
            self.place.leave()
        self._release_unread()
        unread.is_gone(self.transport)
        super().connection_lost(exc)

    def handle_ping(self) -> None:
        """Answer; of a client that does not read, the last ping only (RFC 6455, section 5.5.3)."""
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
        self.scope["extensions"][PACKET] = {}
        await super().run_asgi()

    async def send(self, message: ASGISendEvent) -> None:
        """Send a message, or a packet of them; a packet's time ends when the client has taken it.

        The last message is queued behind pending data. A client that keeps reading receives it. The application
        does not wait.
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
            # Its further frames are not looked at, so its own close would not be found among them.
            self.transport.write_eof()
            self.loop.call_later(CLOSING_SECONDS_MAX, self.transport.abort)

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
    """The answer to a handshake that is refused, in the shape of all errors."""
    answer: ErrorResponse
    if status == 403:
        answer = handshake_refused()
    elif status < 500:
        answer = upgrade_required()
    else:
        answer = internal_error()
    headers = Headers([*answer.items(), ("Connection", "close")])
    return Response(answer.status_code, STATUS_PHRASES[answer.status_code], headers, answer.content)
