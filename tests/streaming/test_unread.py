"""Packets, the turns in which they are sent, and the common bound on clients' unread bytes."""

import asyncio
from collections.abc import Iterator

import pytest
from pytest_django.fixtures import Settings
from websockets.frames import Frame, Opcode

from streaming import outbox
from streaming.outbox import Outbox
from streaming.packet import Packet, packets_of
from streaming.unread import UnreadPackets
from tests.patience import PATIENCE_SECONDS


@pytest.mark.parametrize("length", [0, 1, 125, 126, 65_535, 65_536, 70_000])
@pytest.mark.parametrize("letter", ["x", "ü"])
def test_packets_have_the_same_frames_as_the_websockets_library(length: int, letter: str) -> None:
    texts = [letter * (length // len(letter.encode())), "{}"]
    expected = b"".join(Frame(Opcode.TEXT, text.encode()).serialize(mask=False) for text in texts)
    packet = Packet(texts)
    assert packet.frames == packet.frames == expected
    assert packet.messages == 2


def test_packets_keep_the_order_of_messages_and_have_a_bounded_size(settings: Settings) -> None:
    settings.STREAM_PACKET_BYTES = 100
    texts = [str(number) * 10 for number in range(1, 50)] + ["x" * 1_000, "y"]
    packets = list(packets_of(texts))
    assert [text for packet in packets for text in packet.texts] == texts
    assert all(packet.length < 100 + 20 for packet in packets[:-2])
    assert list(packets_of([])) == []


class Server:
    """Sends its outboxes' packets while it is open. Counts the packets of each turn of the loop."""

    def __init__(self) -> None:
        self.is_open = asyncio.Event()
        self.sent: list[str] = []
        self.turns: dict[int, int] = {}
        self.turn = 0
        self.closed: list[str] = []

    def client(self, name: str) -> Outbox:
        async def send(packet: Packet) -> None:
            await self.is_open.wait()
            self.sent.append(name)
            self.turns[self.turn] = self.turns.get(self.turn, 0) + 1

        return Outbox(send, lambda: self.closed.append(name))

    async def count_turns(self) -> None:
        while True:
            self.turn += 1
            await asyncio.sleep(0)


@pytest.fixture(autouse=True)
def unread(monkeypatch: pytest.MonkeyPatch) -> Iterator[UnreadPackets]:
    """Give the test a count of unread bytes of its own. In the end nothing may be unread."""
    counted = UnreadPackets()
    monkeypatch.setattr(outbox, "unread", counted)
    yield counted
    assert counted.bytes == 0


def test_a_turn_of_the_loop_sends_a_bounded_number_of_packets(settings: Settings) -> None:
    settings.STREAM_SENDS_PER_TURN_MAX = 10

    async def scenario() -> None:
        server = Server()
        server.is_open.set()
        clients = [server.client(str(number)) for number in range(30)]
        running = [asyncio.create_task(client.run()) for client in clients]
        counting = asyncio.create_task(server.count_turns())
        await asyncio.sleep(0)
        for client in clients:
            for _ in range(20):
                client.put("x")
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(server.sent) < 600:  # noqa: ASYNC110 - there is no event for it
                await asyncio.sleep(0)
        assert max(server.turns.values()) <= 2 * 10  # the last sends of a turn may have a few packets more
        assert len(set(server.sent[:60])) >= 15  # clients take turns
        for task in (*running, counting):
            task.cancel()
        await asyncio.gather(*running, counting, return_exceptions=True)

    asyncio.run(scenario())


def test_a_packet_that_clients_share_counts_once(settings: Settings, unread: UnreadPackets) -> None:
    settings.STREAM_UNREAD_BYTES_MAX = 50_000

    async def scenario() -> None:
        server = Server()
        clients = [server.client(str(number)) for number in range(100)]
        running = [asyncio.create_task(client.run()) for client in clients]
        await asyncio.sleep(0)
        packet = Packet(["x" * 40_000])
        for client in clients:
            client.put(packet)
        await asyncio.sleep(0.01)
        assert unread.bytes == packet.size
        assert server.closed == []
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    asyncio.run(scenario())


def test_beyond_the_bound_the_longest_silent_clients_are_closed_until_half_is_left(
    settings: Settings, unread: UnreadPackets
) -> None:
    settings.STREAM_UNREAD_BYTES_MAX = 100_000

    async def scenario() -> None:
        server = Server()
        clients = [server.client(str(number)) for number in range(12)]
        running = [asyncio.create_task(client.run()) for client in clients]
        await asyncio.sleep(0)
        for client in clients[:11]:
            client.put("x" * 9_900)
            await asyncio.sleep(0.002)
        clients[11].put("small")
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not server.closed:  # noqa: ASYNC110 - there is no event for it
                await asyncio.sleep(0.01)
        assert server.closed == [str(number) for number in range(6)]
        assert unread.bytes <= 60_000
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    asyncio.run(scenario())


class Connection:
    """A connection to a client that was told that it is too slow, and has bytes unread."""

    def __init__(self, unread: UnreadPackets) -> None:
        self._unread = unread
        self._packet = Packet(["x" * 50_000])
        unread.hold(self._packet)
        unread.was_told(self)

    def abort(self) -> None:
        self._unread.release(self._packet)


def test_slow_clients_that_ignore_their_notice_are_cut_off(settings: Settings, unread: UnreadPackets) -> None:
    settings.STREAM_UNREAD_BYTES_MAX = 100_000

    async def scenario() -> None:
        for _ in range(10):
            Connection(unread)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while unread.bytes > 50_000 + 100:  # noqa: ASYNC110 - there is no event for it
                await asyncio.sleep(0.01)
        for connection in list(unread._told_at):
            unread.is_gone(connection)
            connection.abort()

    asyncio.run(scenario())
