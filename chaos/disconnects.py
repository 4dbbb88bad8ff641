"""`python -m chaos.disconnects`: measures how long orders outlive a connection with a guard.

A client with cancel_on_disconnect is closed, cut off or made silent, or its API process is killed
or frozen. The time runs from then until the client has no live order. Exits with 1 if the time
exceeds its target or if a promise was broken.
"""

import asyncio
import itertools
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import NamedTuple

import psutil
from websockets.asyncio.client import ClientConnection

from chaos.campaign import Campaign, TradedExchange
from chaos.guarded import orders_are_gone, place_guarded, stream_of
from chaos.parts import PartMissing, Parts
from chaos.probe import NotRecovered
from chaos.stage import option_parser, perform
from loadtools.arguments import whole_number

REPETITIONS_MAX = 100
CALM_SECONDS = 1.0  # Pause before each fault.
TARGET_SECONDS = 6.0

_client_numbers = itertools.count(1)


class Disconnect(NamedTuple):
    """A way in which a connection ends, or seems to."""

    name: str
    strike: Callable[[Parts, ClientConnection], AbstractAsyncContextManager[None]]


@asynccontextmanager
async def _close(parts: Parts, connection: ClientConnection) -> AsyncIterator[None]:
    await connection.close()
    yield


@asynccontextmanager
async def _cut(parts: Parts, connection: ClientConnection) -> AsyncIterator[None]:
    connection.transport.abort()
    yield


@asynccontextmanager
async def _fall_silent(parts: Parts, connection: ClientConnection) -> AsyncIterator[None]:
    """Read nothing any more, and so answer no ping, as a frozen client."""
    connection.transport.pause_reading()
    yield
    connection.transport.abort()


@asynccontextmanager
async def _kill_api(parts: Parts, connection: ClientConnection) -> AsyncIterator[None]:
    (await _process_of(parts, connection)).kill()
    yield


@asynccontextmanager
async def _freeze_api(parts: Parts, connection: ClientConnection) -> AsyncIterator[None]:
    process = await _process_of(parts, connection)
    process.suspend()
    try:
        yield
    finally:
        process.resume()


DISCONNECTS = (
    Disconnect("the client closes", _close),
    Disconnect("the connection is cut", _cut),
    Disconnect("the client is silent", _fall_silent),
    Disconnect("kill -9 its API process", _kill_api),
    Disconnect("SIGSTOP its API process", _freeze_api),
)


async def _process_of(parts: Parts, connection: ClientConnection) -> psutil.Process:
    """Return the API process that serves the connection. Raises PartMissing."""
    port = connection.local_address[1]
    for process in await parts.api():
        if any(socket.raddr and socket.raddr.port == port for socket in process.net_connections("tcp")):
            return process
    raise PartMissing(f"no API process has the connection from port {port}")


def main() -> int:
    parser = option_parser(
        prog="chaos.disconnects", description="Measure how long orders outlive a guarded connection."
    )
    repetitions = whole_number(1, REPETITIONS_MAX)
    parser.add_argument("--repetitions", type=repetitions, default=5, help="of each (default: 5)")
    options = parser.parse_args()
    disconnects = [disconnect for disconnect in DISCONNECTS for _ in range(options.repetitions)]

    async def run(campaign: Campaign) -> None:
        async with campaign.trading() as market:
            for disconnect in disconnects:
                campaign.now = disconnect.name
                seconds = await outlive(campaign, market, disconnect)
                campaign.record.recoveries.append((disconnect.name, seconds))
                campaign.done += 1

    return perform(
        run,
        name="disconnects",
        title=f"Orders after the end of a guarded connection, {options.rate} requests/s",
        length=len(disconnects),
        options=options,
        targets={disconnect.name: TARGET_SECONDS for disconnect in DISCONNECTS},
    )


async def outlive(campaign: Campaign, market: TradedExchange, disconnect: Disconnect) -> float:
    """Let a connection end. Return the seconds until its client has no live order.

    Raises NotRecovered, PartMissing.
    """
    loop = asyncio.get_running_loop()
    await market.probe.recovered()
    await asyncio.sleep(CALM_SECONDS)
    client_id = f"disconnect-{next(_client_numbers)}-"
    async with stream_of(campaign.exchange.target) as connection:
        if not await place_guarded(connection, client_id):
            raise NotRecovered("a healthy exchange did not take a guarded order")
        struck_at = loop.time()
        async with disconnect.strike(market.parts, connection):
            await orders_are_gone(market.parts, client_id)
            seconds = loop.time() - struck_at
    await market.probe.recovered()
    await orders_are_gone(market.parts, client_id)
    return seconds


if __name__ == "__main__":
    sys.exit(main())
