"""uvicorn with the exchange's settings: `python -m exchange_site.uvicorn_server exchange_site.asgi:application`.

uvicorn's own command line can't say how much the system buffers for a connection. On Linux that grows to megabytes:
a stream client that never reads is not noticed for minutes, and what waits for it stays for as long as it likes.
Connections take these options from the socket that listens: see tcp(7).
"""

import asyncio
import logging
import os
import socket
import sys
from typing import Any, cast

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "exchange_site.settings")

from django.conf import settings
from uvicorn import Config, Server
from uvicorn._types import ASGISendEvent
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.supervisors import Multiprocess

from exchange_site.authority import listening
from exchange_site.errors import malformed_request
from marketdata.stream import LAST_WORDS, PACKET
from marketdata.stream.packet import Packet
from marketdata.stream.unread import unread
from rest.loops import Gathered

logger = logging.getLogger(__name__)


class Unread:
    """Answers that clients have not taken, of this process: where they are too many, the oldest ones are given up.

    What a client takes meanwhile is looked at only then, and at its next answer.
    """

    def __init__(self) -> None:
        self._transports: dict[asyncio.Transport, None] = {}  # who has not read for longest first
        self._bytes = 0  # at most

    def look_at(self, transport: asyncio.Transport, written: int) -> None:
        """To be called with what was written to, and how many bytes."""
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
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self._data: list[bytes] = []

    def write(self, data: bytes) -> None:
        if not self._data:
            _written.add(self)
        self._data.append(data)

    def send(self) -> None:
        """What is kept, now; the client may have left meanwhile."""
        data, self._data = b"".join(self._data), []
        if data and not self.transport.is_closing():
            self.transport.write(data)
            _unread.look_at(self.transport, len(data))

    def close(self) -> None:
        self.send()
        self.transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.transport, name)


def _send_all(answers: list[HeldAnswer]) -> None:
    for answer in answers:
        try:
            answer.send()
        except Exception:  # the others' answers must leave all the same
            logger.exception("an answer could not be sent")
            answer.transport.abort()


_written = Gathered(_send_all)
_unread = Unread()


class RequestProtocol(HttpToolsProtocol):
    """uvicorn's, on a transport that answers in one packet."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._held = HeldAnswer(transport)
        super().connection_made(cast("asyncio.Transport", self._held))

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP never comes to the application: it gets the shape of its errors all the same."""
        answer = malformed_request()
        headers = [f"{name}: {value}".encode("latin-1") for name, value in answer.items()]
        lines = [b"HTTP/1.1 400 Bad Request", *headers, b"Connection: close", b"", answer.content]
        self.transport.write(b"\r\n".join(lines))
        self.transport.close()

    def handle_websocket_upgrade(self) -> None:
        self._held.send()
        self.transport = self._held.transport
        super().handle_websocket_upgrade()


class StreamProtocol(WebSocketsSansIOProtocol):
    """No more waits for a client in the server than one packet: the rest waits in its outbox."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._unread: list[Packet] = []  # written, and not taken by the client yet
        super().connection_made(transport)
        cast("asyncio.Transport", transport).set_write_buffer_limits(high=settings.API_UNSENT_BYTES)

    def resume_writing(self) -> None:
        self._release_unread()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._release_unread()
        unread.is_gone(self.transport)
        super().connection_lost(exc)

    async def run_asgi(self) -> None:
        self.scope["extensions"][PACKET] = {}  # type: ignore[typeddict-item]
        await super().run_asgi()

    async def send(self, message: ASGISendEvent) -> None:
        """Send a message, or a packet of them; a packet's time ends when the client has taken it.

        The last message is queued behind pending data. A client that keeps reading receives it. The application
        does not wait.
        """
        packet: Packet | None = message.get(PACKET)
        if packet is not None:
            await self._send_packet(packet)
            return
        if message["type"] == "websocket.close" or LAST_WORDS in message:
            self.writable.set()
            if self._unread:
                unread.was_told(self.transport)
        await super().send(message)

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


def main(application: str) -> None:
    """Serve it until SIGTERM or SIGINT; exits with 3 where it can't begin, as uvicorn does."""
    environment = settings.ENVIRONMENT
    config = Config(
        application,
        host=environment.exchange_bind,
        port=environment.port,
        loop="uvloop",
        http=RequestProtocol,
        ws=StreamProtocol,
        ws_max_size=settings.STREAM_FRAME_BYTES_MAX,
        ws_per_message_deflate=False,
        ws_ping_timeout=None,  # a pong comes behind what the client still has to read: the outbox says who is slow
        lifespan="off",
        workers=environment.exchange_api_processes,
        backlog=settings.API_BACKLOG,
        proxy_headers=False,  # exchange_site/asgi.py reads them where they matter
        limit_concurrency=settings.API_CONCURRENT_MAX,
        timeout_graceful_shutdown=settings.API_GRACE_SECONDS,
        access_log=False,
        server_header=False,
        log_level="warning",
    )
    listener = config.bind_socket()
    _bound_buffers(listener)
    listening()
    if config.workers > 1:
        Multiprocess(config, sockets=[listener]).run()
        return
    server = Server(config)
    server.run(sockets=[listener])
    if not server.started:
        sys.exit(3)


def _bound_buffers(listener: socket.socket) -> None:
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, settings.API_UNSENT_BYTES)
    if sys.platform == "linux":
        timeout = settings.API_PEER_TIMEOUT_SECONDS * 1000
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, timeout)


if __name__ == "__main__":
    main(sys.argv[1])
