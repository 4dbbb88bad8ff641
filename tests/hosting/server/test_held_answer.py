"""Answers leave in one packet when the event loop has come round, and nothing is kept longer."""

import asyncio
from collections.abc import Callable
from typing import cast

from pytest_django.fixtures import Settings

from hosting.server.answers import HeldAnswer, Unread

HEAD = b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\n"


class Wire:
    """What a transport is asked to do, in a log that several may share."""

    def __init__(self, log: list[bytes] | None = None) -> None:
        self.written: list[bytes] = [] if log is None else log
        self.closed = False

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.written.append(data)

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return 0


def held(wire: Wire) -> HeldAnswer:
    return HeldAnswer(cast("asyncio.Transport", wire))


def on_a_loop(scenario: Callable[[], list[bytes]]) -> list[bytes]:
    """What was written before the loop has come round, and has been written after it, is the scenario's list."""

    async def run() -> list[bytes]:
        written = scenario()
        await asyncio.sleep(0)
        return written

    return asyncio.run(run())


def test_head_and_body_leave_together_when_the_loop_has_come_round() -> None:
    wire = Wire()

    def scenario() -> list[bytes]:
        transport = held(wire)
        transport.write(HEAD)
        transport.write(b"{}")
        assert wire.written == []
        return wire.written

    assert on_a_loop(scenario) == [HEAD + b"{}"]


def test_answers_to_several_clients_leave_in_the_order_in_which_they_began() -> None:
    log: list[bytes] = []

    def scenario() -> list[bytes]:
        first, second = held(Wire(log)), held(Wire(log))
        first.write(b"first ")
        second.write(b"second")
        first.write(b"goes on")
        return log

    assert on_a_loop(scenario) == [b"first goes on", b"second"]


def test_what_comes_later_leaves_later() -> None:
    async def run() -> list[bytes]:
        wire = Wire()
        transport = held(wire)
        for data in (b"one", b"two"):
            transport.write(data)
            await asyncio.sleep(0)
        return wire.written

    assert asyncio.run(run()) == [b"one", b"two"]


def test_closing_keeps_nothing_back() -> None:
    wire = Wire()

    def scenario() -> list[bytes]:
        transport = held(wire)
        transport.write(HEAD)
        transport.close()
        assert transport.is_closing()
        return wire.written

    assert on_a_loop(scenario) == [HEAD]


def test_a_client_that_has_left_is_written_nothing() -> None:
    wire, other = Wire(), Wire()

    def scenario() -> list[bytes]:
        gone, there = held(wire), held(other)
        gone.write(HEAD)
        there.write(HEAD)
        wire.closed = True
        return wire.written

    assert on_a_loop(scenario) == []
    assert other.written == [HEAD]


class Reader:
    """A client's transport, of which so much waits."""

    def __init__(self, waiting: int) -> None:
        self.waiting = waiting
        self.is_cut_off = False

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def abort(self) -> None:
        self.is_cut_off, self.waiting = True, 0


def test_the_oldest_of_too_many_answers_that_nobody_reads_are_given_up(settings: Settings) -> None:
    settings.API_UNREAD_BYTES_MAX = 100
    unread = Unread()
    fast, *slow = [Reader(0), *(Reader(10) for _ in range(11))]
    for reader in slow[:10]:
        unread.look_at(cast("asyncio.Transport", reader), 5)
        unread.look_at(cast("asyncio.Transport", fast), 5)
    slow[0].waiting = 0  # it has read on
    unread.look_at(cast("asyncio.Transport", slow[10]), 5)
    assert not any(reader.is_cut_off for reader in slow)  # 100 bytes are allowed
    late = Reader(30)
    unread.look_at(cast("asyncio.Transport", slow[1]), 10)  # it has read what came before
    unread.look_at(cast("asyncio.Transport", late), 30)
    assert [reader.is_cut_off for reader in slow] == [False, False, *[True] * 8, False]  # down to half
    assert not fast.is_cut_off
    assert not late.is_cut_off
