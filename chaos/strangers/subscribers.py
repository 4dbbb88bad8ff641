"""Honest subscribers of the stream. They read everything, so a burst must not disconnect them."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from loadtools.subscribers import TEXT, UPGRADE, client_frame
from loadtools.tasks import run_beside
from loadtools.wire import Target

_SUBSCRIBERS = 20
_INSTRUMENTS = ["BTC-USD", "SOL-USD"]  # Instruments that the attacks use.
_CHANNELS = ["trades", "orderbook_deltas"]
_READ_BYTES = 1024 * 1024
_OPEN_SECONDS_MAX = 30.0


@dataclass
class HonestSubscribers:
    """`lost` counts connections that the exchange has closed."""

    lost: int = 0

    async def read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read until the exchange closes the connection."""
        try:
            with suppress(OSError):
                while await reader.read(_READ_BYTES):
                    pass
            self.lost += 1
        finally:
            writer.transport.abort()


@asynccontextmanager
async def subscribe(target: Target) -> AsyncIterator[HonestSubscribers]:
    """Keep _SUBSCRIBERS connections to /stream during the block."""
    async with asyncio.timeout(_OPEN_SECONDS_MAX):
        connections = [await _open(target) for _ in range(_SUBSCRIBERS)]
    subscribers = HonestSubscribers()
    async with run_beside(*(subscribers.read(*connection) for connection in connections)):
        yield subscribers


async def _open(target: Target) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection(target.host, target.port, limit=_READ_BYTES)
    writer.write(UPGRADE.format(authority=target.authority).encode())
    await reader.readuntil(b"\r\n\r\n")
    message = {"type": "subscribe", "channels": _CHANNELS, "instrument": _INSTRUMENTS}
    writer.write(client_frame(TEXT, json.dumps(message).encode()))
    return reader, writer
