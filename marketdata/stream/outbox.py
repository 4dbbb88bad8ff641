"""One client's outgoing messages: a queue bounded in messages and bytes, and the task that empties it.

Putting never waits, so a slow client cannot slow the feed. One whose queue overflows gets no more market data.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from django.conf import settings

from marketdata import metrics

HEARTBEAT = '{"type":"heartbeat"}'


class Outbox:
    """Sends texts in order through `send`; calls `on_overflow` once where the client is too slow.

    `heartbeat_seconds` of silence are broken by a heartbeat.
    """

    def __init__(self, send: Callable[[str], Awaitable[None]], on_overflow: Callable[[], None]) -> None:
        self._send = send
        self._on_overflow = on_overflow
        self._queue: deque[str] = deque()
        self._characters = 0
        self._filled = asyncio.Event()
        self.overflowed = False

    def put(self, text: str) -> None:
        """Queue a message; drops everything once the bounds are passed."""
        if self.overflowed:
            return
        if (
            len(self._queue) >= settings.STREAM_QUEUE_MESSAGES_MAX
            or self._characters + len(text) > settings.STREAM_QUEUE_BYTES_MAX
        ) and self._queue:
            self.overflowed = True
            self._queue.clear()
            metrics.slow_consumers.inc()
            self._on_overflow()
            return
        self._queue.append(text)
        self._characters += len(text)
        self._filled.set()

    async def run(self) -> None:
        """Send what is put, until cancelled."""
        while True:
            if not self._queue:
                self._filled.clear()
                try:
                    async with asyncio.timeout(settings.STREAM_HEARTBEAT_SECONDS):
                        await self._filled.wait()
                except TimeoutError:
                    self.put(HEARTBEAT)
            sent = 0
            while self._queue:
                text = self._queue.popleft()
                self._characters -= len(text)
                await self._send(text)
                sent += 1
            metrics.messages_sent.inc(sent)
