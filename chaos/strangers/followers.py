"""Honest subscribers of the stream. They read everything, so a burst must not disconnect them."""

import asyncio
import json
from types import TracebackType
from typing import Self

from loadtools.subscribers import TEXT, UPGRADE, client_frame
from loadtools.wire import Target

FOLLOWERS = 20
INSTRUMENTS = ["BTC-USD", "SOL-USD"]  # Instruments that the attacks use.
CHANNELS = ["trades", "orderbook_deltas"]
READ_BYTES = 1024 * 1024
OPEN_SECONDS_MAX = 30.0


class Followers:
    """FOLLOWERS connections to /stream, as a context manager.

    `lost` counts connections that the exchange has closed.
    """

    def __init__(self, target: Target) -> None:
        self.lost = 0
        self._target = target
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        async with asyncio.timeout(OPEN_SECONDS_MAX):
            streams = [await self._open() for _ in range(FOLLOWERS)]
        self._tasks = [asyncio.create_task(self._follow(reader, writer)) for reader, writer in streams]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(self._target.host, self._target.port, limit=READ_BYTES)
        writer.write(UPGRADE.format(authority=self._target.authority).encode())
        await reader.readuntil(b"\r\n\r\n")
        subscribe = {"type": "subscribe", "channels": CHANNELS, "instrument": INSTRUMENTS}
        writer.write(client_frame(TEXT, json.dumps(subscribe).encode()))
        return reader, writer

    async def _follow(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.read(READ_BYTES):
                pass
            self.lost += 1
        except OSError:
            self.lost += 1
        finally:
            writer.transport.abort()
