"""uvicorn with the exchange's settings: python -m hosting.uvicorn_server APPLICATION

uvicorn's own command line can't limit the system's buffers of a connection. On Linux they grow to
megabytes. Then a stream client that never reads is noticed only after minutes, and its data stays
in memory without a time limit. Connections inherit the limits from the listening socket: see
tcp(7).
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

from hosting.authority import give_up_port_capability
from hosting.server.arrival import ArrivingProtocol
from hosting.server.websocket import StreamProtocol

logger = logging.getLogger("hosting.uvicorn_server")  # The module runs as __main__.


class GracefulServer(Server):
    """A server that exits with 0 after an orderly stop. uvicorn's own ends itself by the signal."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        with super().capture_signals():
            yield
            self._captured_signals.clear()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            logger.info("%s", _listening_text())


def main(application: str) -> None:
    """Serve the application until SIGTERM or SIGINT.

    Exits with 3 if it can't start, as uvicorn does.
    """
    # Django would configure logging only when the application is loaded.
    configure_logging(settings.LOGGING_CONFIG, settings.LOGGING)
    environment = settings.ENVIRONMENT
    config = Config(
        application,
        host=environment.exchange_bind,
        port=environment.port,
        loop="uvloop",
        http=ArrivingProtocol,
        ws=StreamProtocol,
        ws_max_size=settings.STREAM_FRAME_BYTES_MAX,
        ws_per_message_deflate=False,
        # No timeout: a pong comes only after the client has read all earlier data. The outbox
        # detects slow clients.
        ws_ping_timeout=None,
        lifespan="off",
        workers=environment.exchange_api_processes,
        backlog=settings.API_BACKLOG,
        proxy_headers=False,  # exchange_site/asgi.py reads them for the paths that need them.
        timeout_graceful_shutdown=settings.API_GRACE_SECONDS,
        access_log=False,
        server_header=False,
        log_config=None,  # Django's settings configure the log, with a limited rate of lines.
        log_level="warning",
    )
    listener = config.bind_socket()
    _limit_buffers(listener)
    give_up_port_capability()
    if config.workers > 1:
        logger.info("%s, in %d processes", _listening_text(), config.workers)
        Multiprocess(config, sockets=[listener]).run()
        return
    server = GracefulServer(config)
    server.run(sockets=[listener])
    if not server.started:
        sys.exit(3)


def _listening_text() -> str:
    address = settings.ENVIRONMENT.exchange_bind
    host = f"[{address}]" if ":" in address else address
    return f"listening on http://{host}:{settings.ENVIRONMENT.port}"


def _limit_buffers(listener: socket.socket) -> None:
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, settings.API_UNSENT_BYTES)
    if sys.platform == "linux":
        timeout = settings.API_PEER_TIMEOUT_SECONDS * 1000
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, timeout)


if __name__ == "__main__":
    main(sys.argv[1])
