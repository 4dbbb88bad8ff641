"""One client's outgoing messages: a queue bounded in messages and bytes, and the task that empties it.

Putting never waits, so a slow client cannot slow the feed. One whose queue overflows, or who takes nothing for too
long, gets no more market data.
A message of more than half the bytes counts as half: a book of any size finds room in a queue that is half empty.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable

from django.conf import settings

from marketdata import metrics

HEARTBEAT = '{"type":"heartbeat"}'


class Outbox:
    """Sends texts in order through `send`; calls `on_overflow` once where the client is too slow.

    Heartbeats are the hub's to ask for: a timer for each message of each client would cost more than the message.
    """

    def __init__(self, send: Callable[[str], Awaitable[None]], on_overflow: Callable[[], None]) -> None:
        self._send = send
        self._on_overflow = on_overflow
        self._queue: deque[str] = deque()
        self._waiting = 0  # weight of the queue
        self._news: asyncio.Future[None] | None = None  # what `run` waits for
        self._is_sending = False
        self._sent_at = time.monotonic()  # the last message was taken by the server
        self._last_seconds = 0.0  # that it takes on its way to a client which is just fast enough
        self._closed = False

    def put(self, text: str) -> None:
        """Queue a message; drops everything once the bounds are passed."""
        if self._closed:
            return
        if (
            len(self._queue) >= settings.STREAM_QUEUE_MESSAGES_MAX
            or self._waiting + _weight(text) > settings.STREAM_QUEUE_BYTES_MAX
        ):
            self._overflow()
            return
        self._queue.append(text)
        self._waiting += _weight(text)
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    def on_tick(self) -> None:
        """To be called every now and then.

        Queues a heartbeat where nothing was sent for STREAM_HEARTBEAT_SECONDS and nothing waits; ends a client that
        has taken nothing for STREAM_STALLED_SECONDS_MAX, and the time that the last message takes at the slowest.
        """
        waited_seconds = time.monotonic() - self._sent_at
        if not self._is_sending:
            if not self._queue and waited_seconds >= settings.STREAM_HEARTBEAT_SECONDS:
                self.put(HEARTBEAT)
        elif waited_seconds > settings.STREAM_STALLED_SECONDS_MAX + self._last_seconds:
            self._overflow()

    @property
    def has_room(self) -> bool:
        """Whether a message of any size fits."""
        return (
            len(self._queue) <= settings.STREAM_QUEUE_MESSAGES_MAX // 2
            and self._waiting <= settings.STREAM_QUEUE_BYTES_MAX // 2
        )

    def _overflow(self) -> None:
        if not self._closed:
            self.close()
            metrics.slow_consumers.inc()
            self._on_overflow()

    def close(self) -> None:
        """Drop what waits and take no more."""
        self._closed = True
        self._queue.clear()
        self._waiting = 0

    async def run(self) -> None:
        """Send what is put, until cancelled; raises what `send` raises."""
        try:
            while True:
                if not self._queue:
                    self._news = asyncio.get_running_loop().create_future()
                    await self._news
                sent = 0
                while self._queue:
                    text = self._queue.popleft()
                    self._waiting -= _weight(text)
                    self._is_sending = True
                    await self._send(text)
                    self._is_sending = False
                    self._sent_at = time.monotonic()
                    self._last_seconds = len(text) / settings.STREAM_BYTES_PER_SECOND_MIN
                    sent += 1
                metrics.messages_sent.inc(sent)
        finally:
            self.close()


def _weight(text: str) -> int:
    return min(len(text), settings.STREAM_QUEUE_BYTES_MAX // 2)
