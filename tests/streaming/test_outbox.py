"""A client's outbox: the order of its messages, its bounds, and its heartbeats."""

import asyncio

import pytest
from pytest_django.fixtures import Settings

from streaming.outbox import HEARTBEAT, Outbox
from streaming.packet import Packet
from tests.patience import PATIENCE_SECONDS


class Sink:
    """Records an outbox's messages. If it `refuses`, it fails as if the client had left."""

    def __init__(self, *, refuses: bool = False) -> None:
        self._texts: asyncio.Queue[str] = asyncio.Queue()
        self.overflows = 0
        self._refuses = refuses
        self.outbox = Outbox(self.send, self.on_overflow)

    async def send(self, packet: Packet) -> None:
        if self._refuses:
            raise ConnectionResetError
        for text in packet.texts:
            self._texts.put_nowait(text)

    def on_overflow(self) -> None:
        self.overflows += 1

    async def run_until_sent(self, count: int) -> list[str]:
        running = asyncio.create_task(self.outbox.run())
        async with asyncio.timeout(PATIENCE_SECONDS):
            texts = [await self._texts.get() for _ in range(count)]
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return texts


def test_an_outbox_sends_messages_in_order() -> None:
    async def scenario() -> None:
        sink = Sink()
        for text in "abc":
            sink.outbox.put(text)
        assert await sink.run_until_sent(3) == ["a", "b", "c"]

    asyncio.run(scenario())


def test_an_idle_outbox_sends_one_heartbeat(settings: Settings) -> None:
    settings.STREAM_HEARTBEAT_SECONDS = 0.0

    async def scenario() -> None:
        sink = Sink()
        for _ in range(3):
            sink.outbox.on_tick()
        sink.outbox.put("a")
        assert await sink.run_until_sent(2) == [*HEARTBEAT.texts, "a"]

    asyncio.run(scenario())


def test_an_outbox_sends_no_heartbeat_before_its_time(settings: Settings) -> None:
    settings.STREAM_HEARTBEAT_SECONDS = 60.0

    async def scenario() -> None:
        sink = Sink()
        sink.outbox.on_tick()
        sink.outbox.put("a")
        assert await sink.run_until_sent(1) == ["a"]

    asyncio.run(scenario())


@pytest.mark.parametrize(("text", "fitting"), [("x", 4), ("x" * 10, 4), ("x" * 30, 3)])
def test_a_full_outbox_reports_its_overflow_once(settings: Settings, text: str, fitting: int) -> None:
    settings.STREAM_QUEUE_MESSAGES_MAX = 4
    settings.STREAM_QUEUE_BYTES_MAX = 100
    sink = Sink()
    for _ in range(fitting):
        sink.outbox.put(text)
    assert sink.overflows == 0
    for _ in range(3):
        sink.outbox.put(text)
    assert sink.overflows == 1


def test_an_outbox_with_room_takes_a_message_of_any_size(settings: Settings) -> None:
    settings.STREAM_QUEUE_BYTES_MAX = 100
    sink = Sink()
    sink.outbox.put("x" * 50)
    assert sink.outbox.has_room
    sink.outbox.put("x" * 5_000)
    assert sink.overflows == 0
    sink.outbox.put("x")
    assert sink.overflows == 1


def test_an_outbox_has_room_again_after_it_has_sent_messages(settings: Settings) -> None:
    settings.STREAM_QUEUE_BYTES_MAX = 100

    async def scenario() -> None:
        sink = Sink()
        for text in ("x" * 5_000, "y" * 5_000):
            sink.outbox.put(text)
        assert not sink.outbox.has_room
        await sink.run_until_sent(2)
        assert sink.outbox.has_room

    asyncio.run(scenario())


def test_a_client_that_reads_nothing_is_too_slow(settings: Settings) -> None:
    settings.STREAM_STALLED_SECONDS_MAX = 0.1
    settings.STREAM_BYTES_PER_SECOND_MIN = 1_000

    async def scenario() -> None:
        never = asyncio.Event()
        stalled = asyncio.Event()

        async def send(packet: Packet) -> None:
            if packet.texts == ("stuck",):
                await never.wait()

        outbox = Outbox(send, stalled.set)
        running = asyncio.create_task(outbox.run())
        outbox.put("x" * 300)
        outbox.put("stuck")
        started = asyncio.get_running_loop().time()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not stalled.is_set():
                await asyncio.sleep(0.01)
                outbox.on_tick()
        assert asyncio.get_running_loop().time() - started >= 0.4
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(scenario())


def test_an_outbox_keeps_nothing_for_a_client_that_has_left(settings: Settings) -> None:
    settings.STREAM_QUEUE_MESSAGES_MAX = 4

    async def scenario() -> None:
        sink = Sink(refuses=True)
        sink.outbox.put("a")
        with pytest.raises(ConnectionResetError):
            await sink.outbox.run()
        for _ in range(10):
            sink.outbox.put("b")
        assert sink.overflows == 0

    asyncio.run(scenario())
