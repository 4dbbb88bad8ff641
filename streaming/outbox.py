"""One client's outgoing messages: a queue that is bounded in messages and bytes, and its sender.

Adding a message never waits, so a slow client can't slow the feed. If the queue would overflow, or
if the client reads nothing for too long, the client is closed. The queue has room for two of the
largest bursts that one commit can cause (see exchange_site/limits.py), so a burst alone does not
make a client too slow. A packet larger than half of the byte limit counts as half of it, so a book
of any size fits into a queue that is half empty.
"""

import asyncio
import itertools
import time
from collections import deque
from collections.abc import Awaitable, Callable

from django.conf import settings

from base.encoding import encode_json
from marketdata.messages import Heartbeat
from streaming import metrics
from streaming.packet import Packet
from streaming.turns import sending_turns
from streaming.unread import unread

HEARTBEAT = Packet([encode_json(Heartbeat()).decode()])
SNAPSHOTS_AHEAD_SECONDS = 1.0  # A snapshot may be queued this long before it is due.
PACKETS_PER_TURN = 4  # the most packets of one client in a turn


class Outbox:
    """Sends packets in order through `send`. Calls `on_overflow` once if the client is too slow.

    The hub's tick sends heartbeats, because a timer for each message of each client would cost more
    than the message.
    """

    def __init__(self, send: Callable[[Packet], Awaitable[None]], on_overflow: Callable[[], None]) -> None:
        self._send = send
        self._on_overflow = on_overflow
        # All times here are values of time.monotonic(), in seconds.
        self._queue: deque[tuple[Packet, float]] = deque()  # packets, and when they were queued
        self._messages = 0  # in the queue
        self._weight = 0  # of the queue, in bytes
        self._turn: asyncio.Future[None] | None = None  # the turn for which `run` waits
        self._has_requested_turn = False  # whether that turn was requested
        # The packet that is being sent, and when it was queued.
        self._sending: tuple[Packet, float] | None = None
        self._progress_at = time.monotonic()  # when the sending of a packet last began or ended
        self._last_seconds = 0.0  # the last packet's time at STREAM_BYTES_PER_SECOND_MIN
        self._snapshot_due = 0.0  # when the next snapshot is due
        self._closed = False
        self._emptied: asyncio.Future[None] | None = None  # what `flush` waits for

    def put(self, message: Packet | str) -> None:
        """Queue a packet or a single message. Calls `give_up` if the queue would overflow."""
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
        self._request_turn()

    def put_snapshot(self, packet: Packet) -> None:
        """Queue a snapshot, and delay the next one: see `may_have_snapshot`.

        The delay is the snapshot's length divided by STREAM_SNAPSHOT_BYTES_PER_SECOND.
        """
        self.put(packet)
        seconds = packet.length / settings.STREAM_SNAPSHOT_BYTES_PER_SECOND
        self._snapshot_due = max(self._snapshot_due, time.monotonic()) + seconds

    def on_tick(self) -> None:
        """Do all work that depends on time. Called every TICK_SECONDS of the hub.

        Queues a heartbeat if nothing was sent for STREAM_HEARTBEAT_SECONDS and the queue is empty.
        Calls `give_up` if sending has made no progress for STREAM_STALLED_SECONDS_MAX plus the time
        that the last packet and the current one take at STREAM_BYTES_PER_SECOND_MIN.
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
        """Whether a snapshot fits, and the client did not get too many recently."""
        return self.has_room and time.monotonic() >= self._snapshot_due - SNAPSHOTS_AHEAD_SECONDS

    @property
    def waiting_since(self) -> float:
        """The time.monotonic() at which the oldest unread packet was queued."""
        if self._sending is not None:
            return self._sending[1]
        return self._queue[0][1] if self._queue else time.monotonic()

    @property
    def own_bytes(self) -> int:
        """The bytes that are in memory for this client only."""
        size = sum(packet.size for packet, _ in self._queue if packet.holders == 1)
        if self._sending is not None and self._sending[0].holders <= 2:  # The server also holds it.
            size += self._sending[0].size
        return size

    def give_up(self) -> None:
        """Drop the queue and call `on_overflow`, because the client is too slow."""
        if not self._closed:
            metrics.messages_dropped.inc(self._messages)
            self.close()
            metrics.slow_consumers.inc()
            self._on_overflow()

    async def flush(self) -> None:
        """Wait until the queue is empty, for at most STREAM_FLUSH_SECONDS_MAX."""
        if self._queue or self._sending is not None:
            self._emptied = asyncio.get_running_loop().create_future()
            await asyncio.wait({self._emptied}, timeout=settings.STREAM_FLUSH_SECONDS_MAX)

    def _end_flush(self) -> None:
        if self._emptied is not None and not self._emptied.done():
            self._emptied.set_result(None)

    def close(self) -> None:
        """Drop the queue and ignore further messages."""
        self._closed = True
        self._end_flush()
        unread.readers.discard(self)
        unread.release_all(packet for packet, _ in self._queue)
        if self._sending is not None:
            unread.release(self._sending[0])
            self._sending = None
        self._queue.clear()
        self._messages = self._weight = 0

    def take_turn(self) -> int:
        """Let `run` send a few packets; returns 1 for each, and 1 for each STREAM_PACKET_BYTES."""
        self._has_requested_turn = False
        if self._turn is None or self._turn.done():
            return 0
        self._turn.set_result(None)
        packets = itertools.islice(self._queue, PACKETS_PER_TURN)
        return sum(1 + packet.length // settings.STREAM_PACKET_BYTES for packet, _ in packets)

    async def run(self) -> None:
        """Send queued packets until cancelled. Raises the errors of `send`."""
        if not self._closed:
            unread.readers.add(self)
        try:
            while True:
                self._turn = asyncio.get_running_loop().create_future()
                if self._queue:
                    self._request_turn()
                await self._turn
                sent = 0
                for _ in range(PACKETS_PER_TURN):
                    if not self._queue:
                        break
                    sent += await self._send_next()
                metrics.messages_sent.inc(sent)
                if not self._queue:
                    self._end_flush()
        finally:
            self.close()

    async def _send_next(self) -> int:
        self._sending = self._queue.popleft()
        packet = self._sending[0]
        self._messages -= packet.messages
        self._weight -= _weight(packet)
        self._progress_at = time.monotonic()
        await self._send(packet)
        if self._sending is not None:  # The outbox was not closed meanwhile.
            self._sending = None
            unread.release(packet)
        self._progress_at = time.monotonic()
        self._last_seconds = packet.length / settings.STREAM_BYTES_PER_SECOND_MIN
        return packet.messages

    def _request_turn(self) -> None:
        if self._turn is not None and not self._turn.done() and not self._has_requested_turn:
            self._has_requested_turn = True
            sending_turns().request_turn(self.take_turn)


def _weight(packet: Packet) -> int:
    return min(packet.length, settings.STREAM_QUEUE_BYTES_MAX // 2)
