"""A watched peer is asked by pings, and is given up only if it is silent for too long."""

import heapq
from collections.abc import Callable
from typing import Any, cast

import pytest
from django.conf import settings

from hosting.server.peer_watch import PeerWatch

SILENT_SECONDS = settings.STREAM_SILENT_SECONDS_MAX
PING_SECONDS = settings.STREAM_PING_SECONDS
CHECK_SECONDS = settings.STREAM_SILENCE_CHECK_SECONDS


class Timer:
    """A timer of `Loop`."""

    def __init__(self) -> None:
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class Loop:
    """The clock and the timers of an event loop, which only the test moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self._timers: list[tuple[float, int, Callable[[], None], Timer]] = []

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, call: Callable[[], None]) -> Timer:
        timer = Timer()
        heapq.heappush(self._timers, (self.now + delay, len(self._timers), call, timer))
        return timer

    def pass_time(self, seconds: float) -> None:
        """Let time pass, and run the timers in time."""
        end = self.now + seconds
        while self._timers and self._timers[0][0] <= end:
            due, _, call, timer = heapq.heappop(self._timers)
            self.now = max(self.now, due)
            if not timer.is_cancelled:
                call()
        self.now = end

    def stand_still(self, seconds: float) -> None:
        """Let time pass without running any timer, as in a process that is stopped."""
        self.now += seconds


class Connection:
    """A connection whose server is watching it."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.pings = 0
        self.silent_at: float | None = None
        self.unsent = 0
        self.reading = True
        self.watch = PeerWatch(self, cast("Any", self.loop), self._give_up)

    def _give_up(self) -> None:
        assert self.silent_at is None
        self.silent_at = self.loop.now

    def send_ping(self) -> None:
        self.pings += 1

    def unsent_bytes(self) -> int:
        return self.unsent

    def is_reading(self) -> bool:
        return self.reading


@pytest.fixture
def connection() -> Connection:
    return Connection()


def test_a_peer_that_says_nothing_is_given_up(connection: Connection) -> None:
    started = connection.loop.now
    connection.loop.pass_time(SILENT_SECONDS - CHECK_SECONDS)
    assert (connection.silent_at, connection.pings) == (None, 1)
    connection.loop.pass_time(10 * SILENT_SECONDS)
    assert connection.silent_at is not None
    assert SILENT_SECONDS <= connection.silent_at - started <= SILENT_SECONDS + CHECK_SECONDS


def test_a_peer_that_answers_pings_stays(connection: Connection) -> None:
    for answered in range(100):
        connection.loop.pass_time(PING_SECONDS + CHECK_SECONDS)
        assert connection.pings == answered + 1
        connection.watch.hear()
    assert connection.silent_at is None


def test_a_peer_that_talks_is_not_asked(connection: Connection) -> None:
    for _ in range(100):
        connection.loop.pass_time(PING_SECONDS / 2)
        connection.watch.hear()
    assert connection.pings == 0


def test_time_in_which_the_server_does_not_read_does_not_count(connection: Connection) -> None:
    connection.reading = False
    connection.loop.pass_time(10 * SILENT_SECONDS)
    assert connection.silent_at is None
    connection.reading = True
    connection.loop.pass_time(SILENT_SECONDS + CHECK_SECONDS)
    assert connection.silent_at is not None


def test_a_peer_that_reads_a_large_message_stays(connection: Connection) -> None:
    for unsent in range(100_000, 0, -1_000):
        connection.unsent = unsent
        connection.loop.pass_time(CHECK_SECONDS)
    assert connection.silent_at is None
    connection.loop.pass_time(SILENT_SECONDS + CHECK_SECONDS)  # it has stopped reading
    assert connection.silent_at is not None


@pytest.mark.parametrize("seconds", [SILENT_SECONDS - PING_SECONDS, 100 * SILENT_SECONDS])
def test_after_the_process_stood_still_the_peer_is_asked_first(
    connection: Connection, seconds: float
) -> None:
    connection.loop.pass_time(PING_SECONDS + CHECK_SECONDS)
    assert connection.pings == 1
    connection.loop.stand_still(seconds)
    connection.loop.pass_time(0)
    assert (connection.silent_at, connection.pings) == (None, 2)
    thawed = connection.loop.now
    connection.loop.pass_time(10 * SILENT_SECONDS)
    assert connection.silent_at is not None
    assert PING_SECONDS <= connection.silent_at - thawed <= SILENT_SECONDS


def test_a_watch_can_be_stopped(connection: Connection) -> None:
    connection.watch.stop()
    connection.loop.pass_time(10 * SILENT_SECONDS)
    assert (connection.silent_at, connection.pings) == (None, 0)
