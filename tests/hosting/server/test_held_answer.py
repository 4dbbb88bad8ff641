"""Answers leave in one packet at the end of a turn of the event loop, and are held no longer."""

import asyncio
from collections.abc import Callable
from typing import cast

from pytest_django.fixtures import Settings

from hosting.server.answers import HeldAnswer, Unread

HEAD = b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\n"


class Wire:
    """Records writes to a transport, in a log that several transports may share."""

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


def held_answer(wire: Wire) -> HeldAnswer:
    return HeldAnswer(cast("asyncio.Transport", wire))


def run_one_turn(scenario: Callable[[], list[bytes]]) -> list[bytes]:
    """Run the scenario, let one turn of the loop pass, and return the list of written data."""

    async def run() -> list[bytes]:
        written = scenario()
        await asyncio.sleep(0)
        return written

    return asyncio.run(run())


def test_head_and_body_leave_together_at_the_end_of_a_turn() -> None:
    wire = Wire()

    def scenario() -> list[bytes]:
        transport = held_answer(wire)
        transport.write(HEAD)
        transport.write(b"{}")
        assert wire.written == []
        return wire.written

    assert run_one_turn(scenario) == [HEAD + b"{}"]


def test_answers_to_several_clients_leave_in_the_order_of_their_first_writes() -> None:
    log: list[bytes] = []

    def scenario() -> list[bytes]:
        first, second = held_answer(Wire(log)), held_answer(Wire(log))
        first.write(b"first ")
        second.write(b"second")
        first.write(b"goes on")
        return log

    assert run_one_turn(scenario) == [b"first goes on", b"second"]


def test_data_written_in_a_later_turn_leaves_later() -> None:
    async def run() -> list[bytes]:
        wire = Wire()
        transport = held_answer(wire)
        for data in (b"one", b"two"):
            transport.write(data)
            await asyncio.sleep(0)
        return wire.written

    assert asyncio.run(run()) == [b"one", b"two"]


def test_closing_sends_the_held_data() -> None:
    wire = Wire()

    def scenario() -> list[bytes]:
        transport = held_answer(wire)
        transport.write(HEAD)
        transport.close()
        assert transport.is_closing()
        return wire.written

    assert run_one_turn(scenario) == [HEAD]


def test_nothing_is_written_to_a_client_that_has_left() -> None:
    wire, other = Wire(), Wire()

    def scenario() -> list[bytes]:
        gone, there = held_answer(wire), held_answer(other)
        gone.write(HEAD)
        there.write(HEAD)
        wire.closed = True
        return wire.written

    assert run_one_turn(scenario) == []
    assert other.written == [HEAD]


class Reader:
    """A client's transport with `waiting` bytes in its write buffer."""

    def __init__(self, waiting: int) -> None:
        self.waiting = waiting
        self.is_cut_off = False

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def abort(self) -> None:
        self.is_cut_off, self.waiting = True, 0


def test_the_oldest_unread_answers_beyond_the_bound_are_given_up(settings: Settings) -> None:
    settings.API_UNREAD_BYTES_MAX = 100
    unread = Unread()
    fast, *slow = [Reader(0), *(Reader(10) for _ in range(11))]
    for reader in slow[:10]:
        unread.look_at(cast("asyncio.Transport", reader), 5)
        unread.look_at(cast("asyncio.Transport", fast), 5)
    slow[0].waiting = 0  # it has read everything
    unread.look_at(cast("asyncio.Transport", slow[10]), 5)
    assert not any(reader.is_cut_off for reader in slow)  # 100 bytes are allowed
    late = Reader(30)
    unread.look_at(cast("asyncio.Transport", slow[1]), 10)  # it has read the earlier answer
    unread.look_at(cast("asyncio.Transport", late), 30)
    # The oldest are cut off until half of the bound is left.
    assert [reader.is_cut_off for reader in slow] == [False, False, *[True] * 8, False]
    assert not fast.is_cut_off
    assert not late.is_cut_off
