"""Attacks on /stream: clients that do not read, and clients that send too many requests."""

import asyncio
import json

from chaos.strangers.crowd import gather_crowd
from chaos.strangers.stage import READ_BYTES, Stage
from loadtools.subscribers import TEXT, UPGRADE, client_frame

PING = 0x89
_PINGS_BYTES_MAX = 150 * 1024 * 1024
_SUBSCRIPTIONS_PER_SECOND = 40  # On one connection. Must be below STREAM_MESSAGES_PER_SECOND_MAX.


async def _open_stream(stage: Stage) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a WebSocket connection.

    Raises OSError or asyncio.IncompleteReadError if the exchange refuses it.
    """
    reader, writer = await stage.connect()
    writer.write(UPGRADE.format(authority=stage.target.authority).encode())
    head = await reader.readuntil(b"\r\n\r\n")
    if b" 101 " not in head.split(b"\r\n")[0]:
        writer.transport.abort()
        raise ConnectionRefusedError(head[:100].decode("latin-1"))
    return reader, writer


def _frame(**message: object) -> bytes:
    return client_frame(TEXT, json.dumps(message).encode())


async def followers_that_do_not_read(stage: Stage) -> None:
    """Subscribe to a large book and read nothing."""
    subscribe = _frame(
        type="subscribe", channels=["orderbook_deltas", "trades"], instrument=stage.facts["instrument"]
    )

    async def member(stage: Stage, number: int) -> None:
        _, writer = await _open_stream(stage)
        try:
            writer.write(subscribe)
            await writer.wait_closed()
            stage.counts["closed by the exchange"] += 1
        finally:
            writer.transport.abort()

    await gather_crowd(stage, stage.scaled(500), member)


async def pings_without_reading(stage: Stage) -> None:
    """Send pings without end, and do not read the pongs."""
    pings = client_frame(PING, b"p" * 100) * 500

    async def member(stage: Stage, number: int) -> None:
        _, writer = await _open_stream(stage)
        sent = 0
        try:
            while sent < _PINGS_BYTES_MAX and not stage.over and not writer.transport.is_closing():
                writer.write(pings)
                sent += len(pings)
                await writer.drain()
        finally:
            stage.counts["bytes"] += sent
            writer.transport.abort()

    await gather_crowd(stage, 1, member)


async def subscriptions_again_and_again(stage: Stage) -> None:
    """Subscribe to a large book and unsubscribe repeatedly, and read everything."""
    selection = {"channels": ["orderbook_deltas"], "instrument": stage.facts["instrument"]}
    turn = _frame(type="subscribe", **selection) + _frame(type="unsubscribe", **selection)

    async def member(stage: Stage, number: int) -> None:
        reader, writer = await _open_stream(stage)
        reading = asyncio.create_task(_read_all(stage, reader))
        try:
            while not reading.done() and not stage.over:
                writer.write(turn)
                stage.counts["subscriptions"] += 1
                await asyncio.sleep(2 / _SUBSCRIPTIONS_PER_SECOND)
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            writer.transport.abort()

    await gather_crowd(stage, stage.scaled(20), member)


async def _read_all(stage: Stage, reader: asyncio.StreamReader) -> None:
    while data := await reader.read(READ_BYTES):
        stage.counts["bytes read"] += len(data)
