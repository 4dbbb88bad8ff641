"""Clients with cancel_on_disconnect: no order of theirs may outlive its connection.

Each connection trades as a client of its own. It ends by itself, at any moment, or in a fault.
"""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from chaos.breaches import Kind
from chaos.client_log import ClientLog
from chaos.parts import PartMissing, Parts, until
from chaos.probe import decode_json
from loadtools.tasks import run_beside
from loadtools.wire import Target

GUARDED_CLIENTS = 10
GUARDED_PREFIX = "guarded-"
_OPEN_SECONDS_MAX = 5.0
_RESULT_SECONDS_MAX = 10.0  # Longer than the exchange needs to answer 504.
_LIFE_SECONDS = (0.0, 4.0)  # Range of a connection's time after its order.
_PAUSE_SECONDS = 0.2
_INSTRUMENT = "BTC-USD"
_PRICE = 100  # Far below the traffic's prices, so the orders rest.

_LIVE = """
SELECT count(*) FROM orders_order
WHERE starts_with(client_id, %s) AND status IN ('pending', 'open', 'partially_filled')
"""


def stream_of(target: Target) -> connect:
    """Return a connection to the stream, which is opened when it is entered."""
    return connect(
        f"ws://{target.authority}/stream",
        max_size=None,
        compression=None,
        open_timeout=_OPEN_SECONDS_MAX,
        ping_interval=None,
    )


async def send_order(connection: ClientConnection, client_id: str) -> None:
    """Send a resting order, and do not wait for its result. Raises WebSocketException."""
    order = {
        "client_id": client_id,
        "instrument": _INSTRUMENT,
        "side": "buy",
        "type": "limit",
        "price": _PRICE,
        "quantity": 1,
    }
    await _send(connection, {"type": "place_order", "id": "order", "order": order})


async def place_guarded(connection: ClientConnection, client_id: str) -> bool:
    """Arm the guard and place a resting order. Returns whether both succeeded.

    Raises WebSocketException, TimeoutError.
    """
    arming = {"type": "cancel_on_disconnect", "id": "guard", "client_id": client_id, "enabled": True}
    await _send(connection, arming)
    if await _status(connection, "guard") != 200:
        return False
    await send_order(connection, client_id)
    return await _status(connection, "order") == 201


async def orders_are_gone(parts: Parts, client_id: str) -> None:
    """Return once no order of clients with this prefix is live. Raises PartMissing, psycopg.Error."""

    async def look() -> bool:
        return not await parts.query_number(_LIVE, [client_id])

    await until(look, f"no order of {client_id} is live")


async def _send(connection: ClientConnection, message: dict[str, Any]) -> None:
    await connection.send(msgspec.json.encode(message).decode())


async def _status(connection: ClientConnection, identity: str) -> int:
    async with asyncio.timeout(_RESULT_SECONDS_MAX):
        while True:
            message = decode_json(await connection.recv())
            if message["type"] == "result" and message["id"] == identity:
                return int(message["status"])


class GuardedClient:
    """Connects again and again."""

    def __init__(self, number: int, *, seed: int, target: Target, client_log: ClientLog) -> None:
        self._number = number
        self._random = Random(f"{seed}-guarded-{number}")
        self._target = target
        self._client_log = client_log

    async def run(self) -> None:
        """Trade until cancelled."""
        for connections in itertools.count():
            with contextlib.suppress(OSError, TimeoutError, WebSocketException):
                async with stream_of(self._target) as connection:
                    await self._trade(connection, f"{GUARDED_PREFIX}{self._number}-{connections}")
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _trade(self, connection: ClientConnection, client_id: str) -> None:
        if not await place_guarded(connection, client_id):
            return
        self._client_log.counts["guarded"] += 1
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._random.uniform(*_LIFE_SECONDS)):
                await connection.wait_closed()
        await send_order(connection, client_id)  # on its way when the connection ends
        if self._random.random() < 0.5:
            connection.transport.abort()


@asynccontextmanager
async def guarded_clients(target: Target, client_log: ClientLog, *, seed: int) -> AsyncIterator[None]:
    """Run the clients during the block. Raises the exception of a failed one at its end."""
    clients = [
        GuardedClient(number, seed=seed, target=target, client_log=client_log)
        for number in range(GUARDED_CLIENTS)
    ]
    async with run_beside(*(client.run() for client in clients)) as tasks:
        yield
        for task in tasks:
            if task.done():
                task.result()


async def check_guarded(parts: Parts, client_log: ClientLog) -> None:
    """Check that no order is left of the clients, whose connections have ended.

    Raises psycopg.Error.
    """
    try:
        await orders_are_gone(parts, GUARDED_PREFIX)
    except PartMissing as error:
        client_log.breaches.add(Kind.GUARD, f"orders have outlived their connections: {error}")
