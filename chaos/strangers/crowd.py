"""The behaviours of many connections: repeat requests, pour bytes, stay silent, or do not read.

Each member runs until the stage is over, and connects again if the exchange closes its connection.
"""

import asyncio
import contextlib
import itertools
from collections.abc import Awaitable, Callable, Iterable

from chaos.strangers.stage import READ_BYTES, RECONNECT_SECONDS, Stage
from loadtools.connection import Caller

_PIECE_BYTES = 64 * 1024

Member = Callable[[Stage, int], Awaitable[None]]


async def gather_crowd(stage: Stage, members: int, member: Member) -> None:
    """Run the members until the stage is over. A member that ends is called again."""

    async def repeat(number: int) -> None:
        while not stage.over:
            try:
                async with asyncio.timeout(stage.seconds_left):
                    await member(stage, number)
            except (OSError, TimeoutError, asyncio.IncompleteReadError):
                stage.counts["cut off"] += not stage.over
            await asyncio.sleep(RECONNECT_SECONDS)

    async with asyncio.TaskGroup() as group:
        for number in range(members):
            group.create_task(repeat(number))


async def repeat_request(stage: Stage, members: int, request: bytes) -> None:
    """Send one request again and again on each of many connections."""
    await gather_crowd(stage, members, lambda stage, number: ask_on(stage, itertools.repeat(request)))


async def ask_on(stage: Stage, requests: Iterable[bytes]) -> None:
    """Send these requests on one connection, each after the answer to the one before."""
    with contextlib.closing(Caller(stage.target)) as caller:
        for request in requests:
            if stage.over:
                return
            stage.counts["requests"] += 1
            response = await caller.call(request)
            stage.counts[str(response.status)] += 1


async def pour(stage: Stage, beginning: bytes, piece: bytes, bytes_max: int) -> None:
    """Send a beginning and then one piece after the other, up to `bytes_max`.

    Count the answer's status.
    """
    reader, writer = await stage.connect()
    answer = asyncio.create_task(reader.read(64))
    try:
        writer.write(beginning)
        sent = len(beginning)
        while sent < bytes_max and not stage.over and not answer.done():
            writer.write(piece)
            sent += len(piece)
            await writer.drain()
        stage.counts["bytes"] += sent
        status = (await answer).split(b" ")[1:2]
        stage.counts[(status or [b"closed without an answer"])[0].decode("latin-1")] += 1
    finally:
        answer.cancel()
        await asyncio.gather(answer, return_exceptions=True)
        writer.transport.abort()


async def hold(stage: Stage, beginning: bytes, drip: bytes = b"", drip_seconds: float = 1.0) -> None:
    """Open a connection, send a beginning, and then only a drip every `drip_seconds`.

    Return when the exchange closes the connection.
    """
    reader, writer = await stage.connect()
    try:
        writer.write(beginning)
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(drip_seconds if drip else None):
                    if not await reader.read(READ_BYTES):
                        stage.counts["closed by the exchange"] += 1
                        return
            writer.write(drip)
    finally:
        writer.transport.abort()


def repeated(line: bytes) -> bytes:
    """Repeat a line up to about _PIECE_BYTES."""
    return line * (_PIECE_BYTES // len(line))
