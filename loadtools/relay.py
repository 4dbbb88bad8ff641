"""A relay in front of an exchange that breaks connections as networks do.

Runs in a thread of its own. Clients connect to its port, and it forwards data in both directions.
"""

import asyncio
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Self

from loadtools.wire import Target

_PIECE_BYTES = 65_536
_STARTS_SECONDS_MAX = 10.0


class Relay:
    """A context manager. `target` is the relay's own address."""

    def __init__(self, exchange: Target) -> None:
        self._exchange = exchange
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relay", daemon=True)
        self._server: asyncio.Server | None = None
        self._port = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._forwarders: set[asyncio.Task[None]] = set()
        self._frozen: list[asyncio.StreamWriter] = []

    @property
    def target(self) -> Target:
        return Target("127.0.0.1", self._port)

    def __enter__(self) -> Self:
        self._thread.start()
        self._call(self._listen())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._call(self._stop_listening())
        self._call(self._break())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def cut(self) -> None:
        """Break all connections. New ones are accepted."""
        self._call(self._break())

    def refuse(self) -> None:
        """Break all connections, and refuse new ones until `accept`."""
        self._call(self._stop_listening())
        self._call(self._break())

    def accept(self) -> None:
        """Listen again, on the same port."""
        self._call(self._listen())

    def freeze(self) -> None:
        """Forward nothing more on the present connections, which stay open. New ones work."""
        self._call(self._freeze())

    def _call(self, step: Coroutine[None, None, None]) -> None:
        asyncio.run_coroutine_threadsafe(step, self._loop).result(_STARTS_SECONDS_MAX)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(self._exchange.host, self._exchange.port)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, far_writer}
        for source, sink in ((reader, far_writer), (far_reader, writer)):
            task = asyncio.create_task(self._forward(source, sink))
            self._forwarders.add(task)
            task.add_done_callback(self._forwarders.discard)

    async def _forward(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        """Forward until one of both ends is gone. A cancelled forwarder leaves its sink open."""
        try:
            while data := await source.read(_PIECE_BYTES):
                sink.write(data)
                await sink.drain()
        except OSError:
            pass  # Connections that broke.
        sink.close()
        self._writers.discard(sink)

    async def _freeze(self) -> None:
        for task in list(self._forwarders):
            task.cancel()
        self._frozen += self._writers
        self._writers.clear()

    async def _break(self) -> None:
        for task in list(self._forwarders):
            task.cancel()
        for writer in [*self._writers, *self._frozen]:
            writer.transport.abort()
        self._writers.clear()
        self._frozen.clear()
