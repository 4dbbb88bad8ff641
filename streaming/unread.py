"""Limits the memory for messages that this process's clients have not read yet.

A packet is in memory once, so it counts once, however many clients it waits for. A packet that is
being sent counts until the client has read it.

If the unread packets exceed STREAM_UNREAD_BYTES_MAX, clients are told that they are too slow, and
closed, until at most half of the limit is unread. The clients whose oldest packet waits longest are
closed first. If that is not enough, the connections of clients that were told, but still do not
read, are aborted.
"""

import asyncio
import logging
import time
from collections.abc import Iterable
from typing import Protocol

from django.conf import settings

from streaming.packet import Packet

logger = logging.getLogger(__name__)

# After this time, the connection of a client that did not read its last message may be aborted. If
# the limit is exceeded by half, it may be aborted earlier.
LAST_MESSAGE_SECONDS = 1.0


class Reader(Protocol):
    """A client's queue."""

    @property
    def waiting_since(self) -> float:
        """The time.monotonic() at which the oldest unread packet was queued."""
        ...

    @property
    def own_bytes(self) -> int:
        """The bytes that are in memory for this client only."""
        ...

    def give_up(self) -> None:
        """Tell the client that it is too slow, and close the connection."""
        ...


class Connection(Protocol):
    """A server's connection to a client that was told that it is too slow."""

    def abort(self) -> None: ...


class UnreadPackets:
    """Counts unread packets. O(1) for each packet and client, except if clients must be closed."""

    def __init__(self) -> None:
        self.bytes = 0
        self.readers: set[Reader] = set()
        self._told_at: dict[Connection, float] = {}  # when they got their last message
        self._is_reduction_planned = False

    def hold(self, packet: Packet) -> None:
        """Count another queue or connection that holds the packet."""
        if not packet.holders:
            self.bytes += packet.size
            if self.bytes > settings.STREAM_UNREAD_BYTES_MAX:
                self._plan_reduction()
        packet.holders += 1

    def release(self, packet: Packet) -> None:
        packet.holders -= 1
        if not packet.holders:
            self.bytes -= packet.size

    def release_all(self, packets: Iterable[Packet]) -> None:
        for packet in packets:
            self.release(packet)

    def was_told(self, connection: Connection) -> None:
        """Note a connection that got its last message and has unread data before it."""
        self._told_at.setdefault(connection, time.monotonic())

    def is_gone(self, connection: Connection) -> None:
        self._told_at.pop(connection, None)

    def _plan_reduction(self, seconds: float = 0.0) -> None:
        if not self._is_reduction_planned:
            self._is_reduction_planned = True
            asyncio.get_running_loop().call_later(seconds, self._reduce_unread)

    def _reduce_unread(self) -> None:
        self._is_reduction_planned = False
        if self.bytes <= settings.STREAM_UNREAD_BYTES_MAX:
            return
        wanted = settings.STREAM_UNREAD_BYTES_MAX // 2
        self._abort_told_connections(wanted)
        expected = self.bytes  # the bytes after the clients chosen here are closed
        given_up = 0
        for reader in sorted(self.readers, key=lambda reader: reader.waiting_since):
            if expected <= wanted:
                break
            expected -= reader.own_bytes
            reader.give_up()
            given_up += 1
        if given_up:
            logger.warning(
                "clients of the stream left more than %d MiB unread: %d of them are closed",
                settings.STREAM_UNREAD_BYTES_MAX >> 20,
                given_up,
            )
        if self.bytes > settings.STREAM_UNREAD_BYTES_MAX:
            self._plan_reduction(LAST_MESSAGE_SECONDS)

    def _abort_told_connections(self, wanted: int) -> None:
        """Abort connections that have their last message, oldest first.

        Stops once at most `wanted` bytes are left.
        """
        told_before = time.monotonic() - LAST_MESSAGE_SECONDS
        is_urgent = self.bytes > settings.STREAM_UNREAD_BYTES_MAX * 3 // 2
        for connection, told_at in list(self._told_at.items()):
            if self.bytes <= wanted or not (is_urgent or told_at <= told_before):
                return
            del self._told_at[connection]
            connection.abort()


unread = UnreadPackets()
