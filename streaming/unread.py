"""What all stream clients of this process have not taken yet, and whom to give up if it is too much.

A packet counts once, however many clients it waits for, because it is in memory once. Beyond
STREAM_UNREAD_BYTES_MAX the clients that have left something unread for longest are told and closed, until half of
the bound is kept. What a server has taken for a client counts until the client has read it. Clients that were told,
and still do not read, are cut off if that does not suffice.
"""

import asyncio
import logging
import time
from collections.abc import Iterable
from typing import Protocol

from django.conf import settings

from streaming.packet import Packet

logger = logging.getLogger(__name__)

WORDS_SECONDS = 1.0  # that a client which was told has to read what it was told, unless memory runs out


class Reader(Protocol):
    """A client's queue."""

    @property
    def waiting_since(self) -> float:
        """The time.monotonic() at which the oldest packet was put that the client has not taken."""
        ...

    @property
    def own_bytes(self) -> int:
        """What is kept for this client only."""
        ...

    def give_up(self) -> None:
        """Tell the client that it is too slow, and close."""
        ...


class Connection(Protocol):
    """A server's connection to a client that was told."""

    def abort(self) -> None: ...


class UnreadPackets:
    """Counts what is held; O(1) for each packet and client, but for the rare relief."""

    def __init__(self) -> None:
        self.bytes = 0
        self.readers: set[Reader] = set()
        self._told: dict[Connection, float] = {}  # and when; the first first
        self._is_relief_planned = False

    def hold(self, packet: Packet) -> None:
        """Another queue or connection keeps it."""
        if not packet.holders:
            self.bytes += packet.size
            if self.bytes > settings.STREAM_UNREAD_BYTES_MAX:
                self._plan_relief()
        packet.holders += 1

    def release(self, packet: Packet) -> None:
        packet.holders -= 1
        if not packet.holders:
            self.bytes -= packet.size

    def release_all(self, packets: Iterable[Packet]) -> None:
        for packet in packets:
            self.release(packet)

    def was_told(self, connection: Connection) -> None:
        """The client was told that it is closed, and has not read all that was written before."""
        self._told.setdefault(connection, time.monotonic())

    def is_gone(self, connection: Connection) -> None:
        self._told.pop(connection, None)

    def _plan_relief(self, seconds: float = 0.0) -> None:
        if not self._is_relief_planned:
            self._is_relief_planned = True
            asyncio.get_running_loop().call_later(seconds, self._relieve)

    def _relieve(self) -> None:
        self._is_relief_planned = False
        if self.bytes <= settings.STREAM_UNREAD_BYTES_MAX:
            return
        wanted = settings.STREAM_UNREAD_BYTES_MAX // 2
        self._cut_off(wanted)
        expected = self.bytes  # once those that are told now have read, or are cut off
        given_up = 0
        for reader in sorted(self.readers, key=lambda reader: reader.waiting_since):
            if expected <= wanted:
                break
            expected -= reader.own_bytes
            reader.give_up()
            given_up += 1
        if given_up:
            logger.warning(
                "clients of the stream leave %d MiB unread: %d of them are closed",
                settings.STREAM_UNREAD_BYTES_MAX >> 20,
                given_up,
            )
        if self.bytes > settings.STREAM_UNREAD_BYTES_MAX:
            self._plan_relief(WORDS_SECONDS)

    def _cut_off(self, wanted: int) -> None:
        """End connections of clients that were told, the first first, until `wanted` bytes are held at most."""
        told_before = time.monotonic() - WORDS_SECONDS
        hurry = self.bytes > settings.STREAM_UNREAD_BYTES_MAX * 3 // 2
        for connection, told_at in list(self._told.items()):
            if self.bytes <= wanted or not (hurry or told_at <= told_before):
                return
            del self._told[connection]
            connection.abort()


unread = UnreadPackets()
