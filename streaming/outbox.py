"""One client's outgoing messages: a queue bounded in messages and bytes, and the task that empties it.

Putting never waits, so a slow client cannot slow the feed. A client gets no more market data if its queue
overflows, or if it takes nothing for too long. The queue holds two of the largest bursts that one commit can cause
(see exchange_site/limits.py): what is produced at once says nothing of a client, what it leaves unread does.
A packet of more than half the bytes counts as half: a book of any size finds room in a queue that is half empty.
"""

import asyncio
import itertools
import time
from collections import deque
from collections.abc import Awaitable, Callable

from django.conf import settings

from streaming import metrics
from streaming.packet import Packet
from streaming.turns import sending_turns
from streaming.unread import unread

HEARTBEAT = Packet(['{"type":"heartbeat"}'])
SNAPSHOTS_AHEAD_SECONDS = 1.0  # that snapshots may be put before they have taken their time
PACKETS_PER_TURN = 4  # of one client, until the other clients have had their turn


class Outbox:
    """Sends packets in order through `send`; calls `on_overflow` once if the client is too slow.

    Heartbeats are the hub's to ask for: a timer for each message of each client would cost more than the message.
    """

    def __init__(self, send: Callable[[Packet], Awaitable[None]], on_overflow: Callable[[], None]) -> None:
        self._send = send
        self._on_overflow = on_overflow
        self._queue: deque[tuple[Packet, float]] = deque()  # and when it was put
        self._messages = 0  # in the queue
        self._weight = 0  # of the queue, in bytes
        self._turn: asyncio.Future[None] | None = None  # that `run` waits for
        self._has_asked = False  # for that turn
        self._sending: tuple[Packet, float] | None = (
            None  # what is on its way to the server, and when it was put
        )
        self._progress_at = time.monotonic()  # a packet was taken, or begun to be sent
        self._last_seconds = 0.0  # that it takes on its way to a client which is just fast enough
        self._snapshot_due = 0.0  # when the next snapshot may be put
        self._closed = False

    def put(self, message: Packet | str) -> None:
        """Queue a packet or a single message; drops everything once the bounds are passed."""
        if self._closed:
            return
        packet = message if isinstance(message, Packet) else Packet((message,))
        weight = _weight(packet)
        if (
            self._messages + packet.messages > settings.STREAM_QUEUE_MESSAGES_MAX
            or self._weight + weight > settings.STREAM_QUEUE_BYTES_MAX
        ):
            metrics.messages_dropped.inc(packet.messages)
            self.give_up()
            return
        self._queue.append((packet, time.monotonic()))
        self._messages += packet.messages
        self._weight += weight
        unread.hold(packet)
        self._ask()

    def put_snapshot(self, packet: Packet) -> None:
        """The same, counted at STREAM_SNAPSHOT_BYTES_PER_SECOND: see `may_have_snapshot`."""
        self.put(packet)
        seconds = packet.length / settings.STREAM_SNAPSHOT_BYTES_PER_SECOND
        self._snapshot_due = max(self._snapshot_due, time.monotonic()) + seconds

    def on_tick(self) -> None:
        """To be called every now and then.

        Queues a heartbeat if nothing was sent for STREAM_HEARTBEAT_SECONDS and nothing waits. Ends a client that
        has taken nothing for STREAM_STALLED_SECONDS_MAX, and the time that the last packets take at the slowest.
        """
        waited_seconds = time.monotonic() - self._progress_at
        if self._sending is None:
            if not self._queue and waited_seconds >= settings.STREAM_HEARTBEAT_SECONDS:
                self.put(HEARTBEAT)
            return
        own_seconds = self._sending[0].length / settings.STREAM_BYTES_PER_SECOND_MIN
        if waited_seconds > settings.STREAM_STALLED_SECONDS_MAX + self._last_seconds + own_seconds:
            self.give_up()

    @property
    def has_room(self) -> bool:
        """Whether a message of any size fits."""
        return (
            self._messages <= settings.STREAM_QUEUE_MESSAGES_MAX // 2
            and self._weight <= settings.STREAM_QUEUE_BYTES_MAX // 2
        )

    @property
    def may_have_snapshot(self) -> bool:
        """Whether a snapshot fits, and the client has not had too many of late."""
        return self.has_room and time.monotonic() >= self._snapshot_due - SNAPSHOTS_AHEAD_SECONDS

    @property
    def waiting_since(self) -> float:
        """The time.monotonic() at which the oldest packet was put that the client has not taken."""
        if self._sending is not None:
            return self._sending[1]
        return self._queue[0][1] if self._queue else time.monotonic()

    @property
    def own_bytes(self) -> int:
        """What is kept for this client only."""
        size = sum(packet.size for packet, _ in self._queue if packet.holders == 1)
        if self._sending is not None and self._sending[0].holders <= 2:  # the server holds it, too
            size += self._sending[0].size
        return size

    def give_up(self) -> None:
        """Drop what waits, and say that the client is too slow."""
        if not self._closed:
            metrics.messages_dropped.inc(self._messages)
            self.close()
            metrics.slow_consumers.inc()
            self._on_overflow()

    def close(self) -> None:
        """Drop what waits and take no more."""
        self._closed = True
        unread.readers.discard(self)
        unread.release_all(packet for packet, _ in self._queue)
        if self._sending is not None:
            unread.release(self._sending[0])
            self._sending = None
        self._queue.clear()
        self._messages = self._weight = 0

    def go(self) -> int:
        """The turn of this outbox has come."""
        self._has_asked = False
        if self._turn is None or self._turn.done():
            return 0
        self._turn.set_result(None)
        some = itertools.islice(self._queue, PACKETS_PER_TURN)
        return sum(1 + packet.length // settings.STREAM_PACKET_BYTES for packet, _ in some)

    async def run(self) -> None:
        """Send what is put, until cancelled; raises what `send` raises."""
        if not self._closed:
            unread.readers.add(self)
        try:
            while True:
                self._turn = asyncio.get_running_loop().create_future()
                if self._queue:
                    self._ask()
                await self._turn
                sent = 0
                for _ in range(PACKETS_PER_TURN):
                    if not self._queue:
                        break
                    sent += await self._send_next()
                metrics.messages_sent.inc(sent)
        finally:
            self.close()

    async def _send_next(self) -> int:
        self._sending = self._queue.popleft()
        packet = self._sending[0]
        self._messages -= packet.messages
        self._weight -= _weight(packet)
        self._progress_at = time.monotonic()
        await self._send(packet)
        if self._sending is not None:  # it was not closed meanwhile
            self._sending = None
            unread.release(packet)
        self._progress_at = time.monotonic()
        self._last_seconds = packet.length / settings.STREAM_BYTES_PER_SECOND_MIN
        return packet.messages

    def _ask(self) -> None:
        if self._turn is not None and not self._turn.done() and not self._has_asked:
            self._has_asked = True
            sending_turns().ask(self)


def _weight(packet: Packet) -> int:
    return min(packet.length, settings.STREAM_QUEUE_BYTES_MAX // 2)
