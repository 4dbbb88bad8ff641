"""A minimal stream: an ASGI application that sends the same text to all connected clients.

`python -m benchmarks.fanout --bare` runs it on the exchange's server, to measure how many
deliveries per second the server itself can make. Each message has a time stamp, as the exchange's
messages do, and the length of a delta.
"""

import asyncio
import os
from datetime import UTC, datetime
from typing import Any

INTERVAL_SECONDS = float(os.environ.get("BARE_STREAM_INTERVAL_SECONDS", "0"))
PADDING = "x" * 200

_sends: dict[int, Any] = {}
_sending: list[asyncio.Task[None]] = []


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Accept every WebSocket, and answer 200 to every request."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b'{"status":"healthy"}'})
        return
    if scope["type"] != "websocket":
        return
    await receive()
    await send({"type": "websocket.accept"})
    await receive()  # The subscription.
    _sends[id(send)] = send
    if not _sending:
        _sending.append(asyncio.create_task(_send_forever()))
    while (await receive())["type"] != "websocket.disconnect":
        pass
    del _sends[id(send)]


async def _send_forever() -> None:
    while True:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
        text = f'{{"type":"orderbook_delta","padding":"{PADDING}","timestamp":"{now}Z"}}'
        for send in list(_sends.values()):
            await send({"type": "websocket.send", "text": text})
        await asyncio.sleep(INTERVAL_SECONDS)
