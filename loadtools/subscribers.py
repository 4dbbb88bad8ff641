"""Runs many subscribers of /stream in processes of their own, and counts their messages and delays.

A subscriber is a socket and a parser of the few kinds of frames that a server sends (RFC 6455). So
thousands of them fit on one machine with the exchange. The delay (lateness) of a message runs from
its time stamp to its receipt, by one clock. The matching worker takes the time stamp before it
commits, so the delay is slightly more than the time from commit to receipt.
"""

import json
import multiprocessing
import os
import selectors
import socket
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from multiprocessing.connection import Connection
from typing import Self
from zlib import crc32

from loadtools.wire import Target

_RECEIVE_BYTES = 256 * 1024
_CONNECT_TIMEOUT_SECONDS = 30.0
_POLL_SECONDS = 0.05
# Position of the time stamp at the end of a message: ..."2026-01-31T12:00:00.123Z"}
STAMP_BEGINS, STAMP_ENDS = -26, -2
_STAMPS_KEPT = 10_000
TEXT, CLOSE, PING = 0x81, 0x88, 0x89
Requests = tuple[Mapping[str, object], ...]
_COUNTED = (b'{"type":"orderbook_delta"', b'{"type":"trade"')
UPGRADE = (
    "GET /stream HTTP/1.1\r\nHost: {authority}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
)


@dataclass(slots=True)
class StreamCounts:
    """Counts of some subscribers since the last call. Lateness is in whole milliseconds."""

    messages: int = 0
    received_bytes: int = 0
    closed: int = 0
    lateness: Counter[int] = field(default_factory=Counter)
    # Subscribers by their number of messages and the checksum of all messages.
    feeds: Counter[tuple[int, int]] = field(default_factory=Counter)
    processor_seconds: float = 0.0

    def add(self, other: "StreamCounts") -> None:
        self.messages += other.messages
        self.received_bytes += other.received_bytes
        self.closed += other.closed
        self.lateness.update(other.lateness)
        self.feeds.update(other.feeds)
        self.processor_seconds += other.processor_seconds

    def lateness_at(self, percentile: float) -> int:
        """Return the lateness in milliseconds. 0 if there was no message."""
        left = self.lateness.total() * percentile / 100
        for milliseconds in sorted(self.lateness):
            left -= self.lateness[milliseconds]
            if left <= 0:
                return milliseconds
        return 0


class Subscribers:
    """A context manager that runs `count` subscribers in `processes` processes.

    Each sends `requests`, by default one to subscribe to `channels` of BTC-USD.
    """

    def __init__(
        self,
        target: Target,
        count: int,
        *,
        processes: int,
        channels: tuple[str, ...] = (),
        requests: Requests | None = None,
    ) -> None:
        context = multiprocessing.get_context("spawn")
        self._parts = []
        for number in range(processes):
            ours, theirs = context.Pipe()
            share = count // processes + (number < count % processes)
            arguments = (theirs, target, share, requests or (_request(channels),))
            self._parts.append((context.Process(target=_run_subscribers, args=arguments, daemon=True), ours))

    def __enter__(self) -> Self:
        for process, pipe in self._parts:
            process.start()
            pipe.recv()  # All its subscribers have sent their requests.
        return self

    def __exit__(self, *exc_info: object) -> None:
        for process, pipe in self._parts:
            pipe.close()
            process.join()

    def take_counts(self) -> StreamCounts:
        """Return the counts of all subscribers since the last call."""
        together = StreamCounts()
        for _, pipe in self._parts:
            pipe.send(None)
        for _, pipe in self._parts:
            together.add(pipe.recv())
        return together


class _Subscriber:
    """One connection. The subscribers of a process share their counts."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.messages = 0
        self.checksum = 0
        self._rest = b""

    def receive(self, counts: StreamCounts, stamps: dict[bytes, int]) -> bool:
        """Read the available bytes. Return False if the server has closed the connection."""
        try:
            data = self.connection.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return True
        except OSError:
            return False
        if not data:
            return False
        now = int(time.time() * 1000)
        counts.received_bytes += len(data)
        buffer = self._rest + data if self._rest else data
        at, end = 0, len(buffer)
        while end - at >= 2:
            kind, length, begins = buffer[at], buffer[at + 1], at + 2
            if length >= 126:
                begins += 2 if length == 126 else 8
                length = int.from_bytes(buffer[at + 2 : begins])
            if begins + length > end:
                break
            at = begins + length
            if kind == TEXT:
                self._count(buffer[begins:at], now, counts, stamps)
            elif kind == PING:
                self.connection.send(client_frame(0x8A, buffer[begins:at]))
            elif kind == CLOSE:
                return False
        self._rest = buffer[at:]
        return True

    def _count(self, text: bytes, now: int, counts: StreamCounts, stamps: dict[bytes, int]) -> None:
        if not text.startswith(_COUNTED):
            return
        self.messages += 1
        self.checksum = crc32(text, self.checksum)
        stamp = text[STAMP_BEGINS:STAMP_ENDS]
        sent = stamps.get(stamp)
        if sent is None:
            if len(stamps) >= _STAMPS_KEPT:
                stamps.clear()
            sent = stamps[stamp] = int(datetime.fromisoformat(stamp.decode()).timestamp() * 1000)
        counts.messages += 1
        counts.lateness[max(0, now - sent)] += 1


def open_stream(target: Target, *channels: str, receive_buffer_bytes: int | None = None) -> socket.socket:
    """Open a connection and send a request to subscribe to BTC-USD. Raises OSError."""
    return _open(target, (_request(channels),), receive_buffer_bytes)


def _request(channels: tuple[str, ...]) -> dict[str, object]:
    return {"type": "subscribe", "channels": channels, "instrument": "BTC-USD"}


def _open(target: Target, requests: Requests, receive_buffer_bytes: int | None = None) -> socket.socket:
    connection = socket.socket()
    if receive_buffer_bytes is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
    connection.settimeout(_CONNECT_TIMEOUT_SECONDS)
    connection.connect((target.host, target.port))
    connection.sendall(UPGRADE.format(authority=target.authority).encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += connection.recv(1)
    if b" 101 " not in answer.splitlines()[0]:
        raise ConnectionError(answer.decode(errors="replace"))
    for request in requests:
        connection.sendall(client_frame(TEXT, json.dumps(request).encode()))
    return connection


def client_frame(kind: int, payload: bytes) -> bytes:
    """Return a client's frame of at most 64 KiB, masked with zeros."""
    length = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2)
    return bytes([kind]) + length + bytes(4) + payload


def _run_subscribers(pipe: Connection, target: Target, count: int, requests: Requests) -> None:
    """Run one process of subscribers.

    Sends its counts on each request, until the pipe is closed.
    """
    selector = selectors.DefaultSelector()
    subscribers = [_Subscriber(_open(target, requests)) for _ in range(count)]
    for subscriber in subscribers:
        subscriber.connection.setblocking(False)
        selector.register(subscriber.connection, selectors.EVENT_READ, subscriber)
    selector.register(pipe, selectors.EVENT_READ)
    counts, stamps = StreamCounts(), dict[bytes, int]()
    pipe.send(os.getpid())
    used = time.process_time()
    while True:
        for key, _ in selector.select(_POLL_SECONDS):
            subscriber = key.data
            if subscriber is not None:
                if not subscriber.receive(counts, stamps):
                    selector.unregister(subscriber.connection)
                    counts.closed += 1
                continue
            try:
                pipe.recv()
            except EOFError:
                return
            counts.feeds = Counter((one.messages, one.checksum) for one in subscribers)
            counts.processor_seconds = time.process_time() - used
            pipe.send(counts)
            counts, used = StreamCounts(), time.process_time()
            for one in subscribers:
                one.messages = one.checksum = 0
