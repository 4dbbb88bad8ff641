"""A connection until its first byte.

Connections that send nothing are the cheapest way to keep a server busy. So what a request needs is
made when the first bytes arrive. Until then a connection has only its place and its deadline.
"""

import asyncio
from typing import Any

from django.conf import settings

from hosting.server.connections import Place, current_connections
from hosting.server.http import RequestProtocol


class ArrivingProtocol(asyncio.Protocol):
    """What uvicorn makes for each connection. RequestProtocol takes its place."""

    def __init__(self, **uvicorn: Any) -> None:
        self._uvicorn = uvicorn  # the arguments for RequestProtocol
        self._all: set[Any] = uvicorn["server_state"].connections
        self._transport: asyncio.Transport
        self._place: Place | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        self._all.add(self)
        peer = transport.get_extra_info("peername")
        self._place = current_connections().admit(self, str(peer[0]) if isinstance(peer, tuple) else "")
        if self._place is None:
            transport.abort()
            return
        self._place.deadline = asyncio.get_running_loop().time() + settings.REQUEST_HEAD_SECONDS_MAX

    def data_received(self, data: bytes) -> None:
        if self._place is None:
            return
        self._all.discard(self)
        protocol = RequestProtocol(self._place, **self._uvicorn)
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        protocol.data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._all.discard(self)
        if self._place is not None:
            self._place.leave()

    def shutdown(self) -> None:
        """Close for the server's stop."""
        self._transport.close()

    # Called by the module `connections`

    def give_way(self) -> None:
        self._place = None
        self._transport.abort()

    def drop_received(self) -> None:
        """Nothing was received."""

    def miss_deadline(self) -> None:
        self._transport.close()
