"""Limits the number, the memory and the time of an API process's connections.

A connection either waits for its client to send a complete request, or works on a complete request.
Only waiting connections have a deadline. Only they are closed to make room for others, beginning
with the one that has waited longest. A WebSocket works as long as it is open.

All operations take constant time. Once a second all deadlines are checked, which takes a
millisecond for 16,000 connections.
"""

import asyncio
import logging
import resource
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

from django.conf import settings

from base.loops import per_event_loop
from hosting.server.peers import Peers

logger = logging.getLogger(__name__)

_CHECK_SECONDS = 1.0
_WEBSOCKETS_SHARE_MAX = 3 / 4  # Share of all connections that may be WebSockets.
NEVER = float("inf")


class Closable(Protocol):
    """The methods of a connection that this module calls."""

    def give_way(self) -> None:
        """Close the connection at once, to free its place or memory for others."""

    def drop_received(self) -> None:
        """Drop received bytes whose request has not started, to free memory for others."""

    def miss_deadline(self) -> None:
        """End the connection, because the client did not send a request in time."""


class _Peer:
    """The connections of one address."""

    __slots__ = ("connections", "key", "waiting")

    def __init__(self, key: str) -> None:
        self.key = key
        self.connections = 0
        self.waiting: OrderedDict[Place, None] = OrderedDict()


class Place:
    """The place of one connection."""

    __slots__ = ("_connections", "bytes_held", "deadline", "is_websocket", "owner", "peer")

    def __init__(self, connections: "Connections", owner: Closable, peer: _Peer | None) -> None:
        self._connections = connections
        self.owner = owner
        self.peer = peer
        self.deadline = NEVER  # By the event loop's clock.
        self.bytes_held = 0
        self.is_websocket = False

    def work(self) -> None:
        """Note that a request is complete, so the connection is not closed for others."""
        connections = self._connections
        connections.waiting.pop(self, None)
        if self.bytes_held:
            connections.holding.pop(self, None)
        if self.peer is not None:
            self.peer.waiting.pop(self, None)

    def wait(self) -> None:
        """Note that the last request is answered. The caller sets the deadline."""
        self._connections.waiting[self] = None
        if self.peer is not None:
            self.peer.waiting[self] = None

    def become_websocket(self) -> bool:
        """Count the connection as a WebSocket, and no longer for its address.

        Return False and change nothing if there are too many WebSockets.
        """
        return self._connections.take_websocket(self)

    def hold(self, size: int) -> None:
        """Set how many received bytes are kept for the connection and its request."""
        self._connections.hold(self, size)

    def leave(self) -> None:
        """Free the place of a closed connection. May be called more than once."""
        self._connections.remove(self)


class Connections:
    """All connections of one API process."""

    def __init__(self, *, peers: Peers, total_max: int, per_address_max: int, bytes_max: int) -> None:
        self.waiting: OrderedDict[Place, None] = OrderedDict()
        # Places with bytes that may be dropped.
        self.holding: OrderedDict[Place, None] = OrderedDict()
        self._places: set[Place] = set()
        self._websockets = 0
        self._peers_of: dict[str, _Peer] = {}
        self._peers = peers
        self._total_max = total_max
        self._per_address_max = per_address_max
        self._bytes = 0
        self._bytes_max = bytes_max
        self._closed = self._refused = 0  # Counts since the last `sweep`.

    def __len__(self) -> int:
        return len(self._places)

    def admit(self, owner: Closable, address: str) -> Place | None:
        """Return a place for a new connection, or None if the caller must close it."""
        key = self._peers.key(address)
        peer = None
        if key is not None:
            peer = self._peers_of.get(key)
            if peer is not None and peer.connections >= self._per_address_max:
                if not self._close_one(peer.waiting):
                    return None
                peer = self._peers_of.get(key)
        if len(self._places) >= self._total_max:
            if not self._close_one(self.waiting):
                return None
            peer = self._peers_of.get(key) if key is not None else None
        if peer is None and key is not None:
            peer = self._peers_of[key] = _Peer(key)
        place = Place(self, owner, peer)
        self._places.add(place)
        if peer is not None:
            peer.connections += 1
        place.wait()
        return place

    def remove(self, place: Place) -> None:
        if place not in self._places:
            return
        self._places.remove(place)
        self._websockets -= place.is_websocket
        place.work()
        self.forget_peer(place)
        self._bytes -= place.bytes_held
        place.bytes_held = 0

    def forget_peer(self, place: Place) -> None:
        peer, place.peer = place.peer, None
        if peer is None:
            return
        peer.connections -= 1
        if not peer.connections:
            del self._peers_of[peer.key]

    def take_websocket(self, place: Place) -> bool:
        """Count a WebSocket. WebSockets never give way, so they may not take all places."""
        if self._websockets >= self._total_max * _WEBSOCKETS_SHARE_MAX:
            return False
        self._websockets += 1
        place.is_websocket = True
        place.work()
        self.forget_peer(place)
        return True

    def hold(self, place: Place, size: int) -> None:
        more = size - place.bytes_held
        self._bytes += more
        place.bytes_held = size
        if more > 0:
            self.holding[place] = None
            if self._bytes > self._bytes_max:
                self._make_room()
        elif not size:
            self.holding.pop(place, None)

    def sweep(self, now: float) -> None:
        """End connections that missed their deadline, and log how many were closed for others."""
        for place in [place for place in self.waiting if place.deadline <= now]:
            place.owner.miss_deadline()
        if self._closed or self._refused:
            logger.warning(
                "too many connections, %d are open: %d that waited were closed for new ones, %d were refused",
                *(len(self._places), self._closed, self._refused),
            )
            self._closed = self._refused = 0

    def _close_one(self, waiting: "OrderedDict[Place, None]") -> bool:
        """Close the connection that has waited longest for a request.

        Return False if none waits.
        """
        for place in waiting:
            self.remove(place)
            place.owner.give_way()
            self._closed += 1
            return True
        self._refused += 1
        return False

    def _make_room(self) -> None:
        """Drop bytes of unfinished requests, oldest first, until a quarter of the memory is free.

        Complete requests keep their bytes. web/concurrency.py limits their number.
        """
        logger.warning("unfinished requests hold %d bytes: the oldest are cut off", self._bytes)
        while self.holding and self._bytes > self._bytes_max * 3 // 4:
            place, _ = self.holding.popitem(last=False)
            if place in self.waiting:
                self.remove(place)
                place.owner.give_way()
            else:
                place.owner.drop_received()


def _total_max() -> int:
    """Return the limit of connections. The limit of open files may lower it."""
    open_files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, min(settings.API_CONNECTIONS_MAX, open_files - settings.API_OPEN_FILES_RESERVED))


@per_event_loop
def current_connections() -> Connections:
    """Return the running event loop's connections, and start to check their deadlines."""
    loop = asyncio.get_running_loop()
    total_max = _total_max()
    connections = Connections(
        peers=Peers(settings.ENVIRONMENT.trusted_proxies),
        total_max=total_max,
        per_address_max=max(1, min(settings.API_CONNECTIONS_PER_ADDRESS_MAX, total_max // 2)),
        bytes_max=settings.API_RECEIVED_BYTES_MAX,
    )
    _run_periodically(_CHECK_SECONDS, loop, lambda: connections.sweep(loop.time()))
    return connections


def _run_periodically(seconds: float, loop: asyncio.AbstractEventLoop, action: Callable[[], None]) -> None:
    def run() -> None:
        loop.call_later(seconds, run)
        try:
            action()
        except Exception:
            logger.exception("deadlines of connections could not be checked")

    loop.call_later(seconds, run)
