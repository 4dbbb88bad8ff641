"""uvicorn with the exchange's settings: `python -m hosting.uvicorn_server exchange_site.asgi:application`.

uvicorn's own command line can't say how much the system buffers for a connection. On Linux that grows to megabytes:
a stream client that never reads is not noticed for minutes, and what waits for it stays for as long as it likes.
Connections take these options from the socket that listens: see tcp(7).
"""

import contextlib
import logging
import os
import socket
import sys
from collections.abc import Iterator

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "exchange_site.settings")

from django.conf import settings
from django.utils.log import configure_logging
from uvicorn import Config, Server
from uvicorn.supervisors import Multiprocess

from hosting.authority import listening
from hosting.server.http import RequestProtocol
from hosting.server.websocket import StreamProtocol

logger = logging.getLogger("hosting.uvicorn_server")  # it runs as __main__


class GracefulServer(Server):
    """A server whose orderly stop is a success: uvicorn's ends itself with the signal that stopped it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        with super().capture_signals():
            yield
            self._captured_signals.clear()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            logger.info("%s", _where())


def main(application: str) -> None:
    """Serve it until SIGTERM or SIGINT; exits with 3 if it can't begin, as uvicorn does."""
    configure_logging(settings.LOGGING_CONFIG, settings.LOGGING)  # Django does so with the application
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
        timeout_graceful_shutdown=settings.API_GRACE_SECONDS,
        access_log=False,
        server_header=False,
        log_config=None,  # Django's settings have it: one format, and a bounded pace
        log_level="warning",
    )
    listener = config.bind_socket()
    _bound_buffers(listener)
    listening()
    if config.workers > 1:
        logger.info("%s, in %d processes", _where(), config.workers)
        Multiprocess(config, sockets=[listener]).run()
        return
    server = GracefulServer(config)
    server.run(sockets=[listener])
    if not server.started:
        sys.exit(3)


def _where() -> str:
    address = settings.ENVIRONMENT.exchange_bind
    host = f"[{address}]" if ":" in address else address
    return f"listening on http://{host}:{settings.ENVIRONMENT.port}"


def _bound_buffers(listener: socket.socket) -> None:
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, settings.API_UNSENT_BYTES)
    if sys.platform == "linux":
        timeout = settings.API_PEER_TIMEOUT_SECONDS * 1000
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, timeout)


if __name__ == "__main__":
    main(sys.argv[1])
