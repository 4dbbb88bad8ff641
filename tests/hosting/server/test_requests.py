"""Memory that the server keeps for clients that send too much, or do not read their answers."""

import asyncio
import contextlib
import functools
import gc
import socket
import tracemalloc
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
import uvloop
from uvicorn import Config
from uvicorn.server import ServerState
from websockets.frames import Frame, Opcode

from hosting.server.arrival import ArrivingProtocol
from hosting.server.connections import Connections, current_connections
from hosting.server.websocket import MESSAGE_FRAMES_MAX, StreamProtocol
from tests.contract.stream import UPGRADE_REQUEST
from tests.patience import PATIENCE_SECONDS

GET = b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n"
HEAD_OF_30_KB = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nn: %s\r\n\r\n" % (b"v" * 30_000)
ONE_READ = 256 * 1024  # bytes that the event loop reads from a connection at a time

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Application:
    """Answers requests with `size` bytes once it may. Accepts WebSockets, but never reads them."""

    def __init__(self, size: int = 1) -> None:
        self.size = size
        self.begun = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    def has_begun(self, requests: int) -> bool:
        return self.begun == requests

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.get_running_loop().create_future()
            return
        while message.get("more_body"):
            message = await receive()
        if message["type"] == "http.disconnect":
            return
        self.begun += 1
        await self.may_answer.wait()
        await asyncio.sleep(0)  # the server reads during the work, as in a real application
        await asyncio.sleep(0)
        length = str(self.size).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
        await send({"type": "http.response.body", "body": b"." * self.size})


class RunningServer:
    """A server in this process, with access to its protocol objects."""

    def __init__(self, port: int, state: ServerState) -> None:
        self.port = port
        self._state = state

    @property
    def connections(self) -> Connections:
        return current_connections()

    @property
    def protocols(self) -> list[Any]:
        """The protocols of connections that have sent something."""
        return [each for each in self._state.connections if not isinstance(each, ArrivingProtocol)]

    async def connect(self) -> Stream:
        """Connect with small socket buffers, so that the server soon has to keep unread data."""
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        client.setblocking(False)
        await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", self.port))
        return await asyncio.open_connection(sock=client, limit=2**26)


@contextlib.asynccontextmanager
async def run_server(application: Any) -> AsyncIterator[RunningServer]:
    config = Config(application, http=ArrivingProtocol, ws=StreamProtocol, lifespan="off", log_config=None)
    config.load()
    state = ServerState()
    server = await asyncio.get_running_loop().create_server(
        lambda: ArrivingProtocol(config=config, server_state=state, app_state={}), "127.0.0.1", 0
    )
    try:
        yield RunningServer(server.sockets[0].getsockname()[1], state)
    finally:
        server.close()
        for task in list(state.tasks):
            task.cancel()


def run(test: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await test

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(bounded())


def text_frame(content: bytes, *, opcode: Opcode = Opcode.TEXT, fin: bool = True) -> bytes:
    """Return a client's frame."""
    return Frame(opcode, content, fin=fin).serialize(mask=True)


async def wait_until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110 - there is no event for it
        await asyncio.sleep(0.005)


async def read_answer(stream: Stream) -> bytes:
    head = await stream[0].readuntil(b"\r\n\r\n")
    (length,) = (line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
    return head + await stream[0].readexactly(int(length.split(b":")[1]))


def test_pipelined_requests_are_read_only_as_fast_as_they_are_answered() -> None:
    """A defect once: each request of a flood resumed reading, and one client filled the memory."""

    async def test() -> None:
        async with run_server(Application()) as server:
            stream = await server.connect()
            flood = (GET % 1) * 1_000_000
            stream[1].write(flood)
            kept = []
            for _ in range(500):
                assert (await read_answer(stream)).startswith(b"HTTP/1.1 200 ")
                kept.append(len(server.protocols[0]._later))
            assert 0 < max(kept) <= 2 * ONE_READ
            stream[1].close()

    run(test())


def test_pipelined_requests_are_dropped_if_all_connections_hold_too_much(settings: Any) -> None:
    """The request in work is still answered, and its answer closes the connection."""
    settings.API_RECEIVED_BYTES_MAX = 4 * ONE_READ

    async def test() -> None:
        application = Application()
        application.may_answer.clear()
        async with run_server(application) as server:
            streams = [await server.connect() for _ in range(20)]
            for number, stream in enumerate(streams, 1):
                stream[1].write(GET % 1)
                await wait_until(functools.partial(application.has_begun, number))
                stream[1].write((GET % 2) * 20_000)
            await wait_until(lambda: all(protocol.flow.read_paused for protocol in server.protocols))
            assert sum(len(protocol._later) for protocol in server.protocols) <= 4 * ONE_READ
            application.may_answer.set()
            first = await read_answer(streams[0])
            assert first.startswith(b"HTTP/1.1 200 ")
            assert b"connection: close" in first.lower()
            last = await read_answer(streams[-1])
            assert last.startswith(b"HTTP/1.1 200 ")
            assert b"connection: close" not in last.lower()

    run(test())


def test_an_idle_connection_keeps_nothing_of_its_last_request() -> None:
    connections = 200

    async def test() -> None:
        async with run_server(Application()) as server:
            streams = [await server.connect() for _ in range(connections)]
            await wait_until(lambda: len(server.connections) == connections)
            gc.collect()
            before, _ = tracemalloc.get_traced_memory()
            for stream in streams:
                stream[1].write(HEAD_OF_30_KB + b"1")
                await read_answer(stream)
            gc.collect()
            after, _ = tracemalloc.get_traced_memory()
            assert after - before < connections * 10_000
            assert not any(place.bytes_held for place in server.connections.waiting)

    tracemalloc.start()
    try:
        run(test())
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "head", [HEAD_OF_30_KB, HEAD_OF_30_KB.replace(b"n: ", b"ab:c\r\n" * 80 + b"n: ")[:2_000] + b"\r\n\r\n"]
)
def test_heads_of_unfinished_requests_share_a_bound(settings: Any, head: bytes) -> None:
    """The second head has many short lines, which take memory, too."""
    settings.API_RECEIVED_BYTES_MAX = 500_000

    async def test() -> None:
        async with run_server(Application()) as server:
            streams = [await server.connect() for _ in range(100)]
            for stream in streams:
                stream[1].write(head)
            first, last = streams[0], streams[-1]
            assert await first[0].read() == b""
            assert 0 < sum(len(protocol.parser.headers) > 0 for protocol in server.protocols) < 40
            last[1].write(b"1")
            assert (await read_answer(last)).startswith(b"HTTP/1.1 200 ")

    run(test())


def test_a_request_waits_until_the_client_reads_the_previous_answer() -> None:
    size = 8 * 1024 * 1024

    async def test() -> None:
        application = Application(size)
        async with run_server(application) as server:
            stream = await server.connect()
            stream[1].write((GET % 1) + (GET % 2))
            await wait_until(lambda: server.protocols and server.protocols[0].flow.write_paused)
            stream[1].write(GET % 3)
            stream[1].write_eof()
            for _ in range(20):
                await asyncio.sleep(0)
            assert application.begun == 1
            answers = [await read_answer(stream) for _ in range(3)]
            assert [len(answer) > size for answer in answers] == [True] * 3
            assert await stream[0].read() == b""

    run(test())


@pytest.mark.parametrize("line", [b"", b"Connection: close\r\n"])
def test_a_client_that_does_not_read_its_answer_may_be_closed_for_others(line: bytes) -> None:
    async def test() -> None:
        async with run_server(Application(8 * 1024 * 1024)) as server:
            stream = await server.connect()
            stream[1].write(b"GET / HTTP/1.1\r\nHost: x\r\n" + line + b"\r\n")
            await wait_until(lambda: server.protocols and server.protocols[0].flow.write_paused)
            await wait_until(lambda: server.connections.waiting)
            (place,) = server.connections.waiting
            assert place.deadline < float("inf")
            server.connections.sweep(place.deadline)
            await wait_until(lambda: not len(server.connections))
            stream[1].close()

    run(test())


def test_unfinished_messages_of_websockets_share_a_bound(settings: Any) -> None:
    settings.API_RECEIVED_BYTES_MAX = 500_000
    message = text_frame(b"x" * 60_000)

    async def test() -> None:
        async with run_server(Application()) as server:
            streams = [await server.connect() for _ in range(20)]
            for stream in streams:
                stream[1].write(UPGRADE_REQUEST)
                assert (await stream[0].readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
                stream[1].write(message[:-1])
            assert await streams[0][0].read() == b""
            assert 0 < len(server.protocols) < 10
            streams[-1][1].write(message[-1:])
            await wait_until(lambda: any(protocol.queue.qsize() for protocol in server.protocols))

    run(test())


def test_websockets_may_not_take_all_places() -> None:
    async def test() -> None:
        async with run_server(Application()) as server:
            server.connections._total_max = 8
            streams = [await server.connect() for _ in range(8)]
            statuses: list[bytes] = []
            for stream in streams:
                stream[1].write(UPGRADE_REQUEST)
                statuses.append((await stream[0].readuntil(b"\r\n\r\n")).split(b" ")[1])
            assert statuses == [b"101"] * 6 + [b"503"] * 2
            for stream in streams[:6]:
                stream[1].close()
            await wait_until(lambda: len(server.connections) < 3)
            assert server.connections._websockets == 0

    run(test())


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        (text_frame(b"\xff\xfe"), 1007),
        (
            text_frame(b"x", fin=False) + text_frame(b"", opcode=Opcode.CONT, fin=False) * MESSAGE_FRAMES_MAX,
            1009,
        ),
    ],
    ids=["not UTF-8", "fragments without end"],  # the frames can't be ids, as their masks are random
)
def test_an_invalid_message_closes_the_websocket_without_a_stack_trace(
    settings: Any, caplog: pytest.LogCaptureFixture, frames: bytes, code: int
) -> None:
    settings.STREAM_MESSAGES_PER_SECOND_MAX = 10_000

    async def test() -> None:
        async with run_server(Application()) as server:
            stream = await server.connect()
            stream[1].write(UPGRADE_REQUEST)
            await stream[0].readuntil(b"\r\n\r\n")
            stream[1].write(frames)
            heard = await stream[0].read()
            assert int.from_bytes(heard[2:4], "big") == code
            assert not [record for record in caplog.records if record.exc_info]

    run(test())


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([(b"content-length", b"2")], b"200"),
        ([], b"200"),
        ([(b"content-length", b"3")], b"500"),
        ([(b"content-length", b"2"), (b"x", b"a\r\nset-cookie: b")], b"500"),
        ([(b"content-length", b"2"), (b"x", b"a\nb")], b"500"),
        (None, b"500"),
    ],
)
@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
def test_an_invalid_answer_of_the_application_becomes_an_internal_error(
    headers: list[tuple[bytes, bytes]] | None, expected: bytes, method: bytes
) -> None:
    if method == b"HEAD" and headers == [(b"content-length", b"3")]:
        expected = b"200"  # a HEAD answer may have the length of GET's

    async def application(scope: Any, receive: Any, send: Any) -> None:
        if headers is None:
            raise ValueError
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"{}"})

    async def test() -> None:
        async with run_server(application) as server:
            reader, writer = await server.connect()
            writer.write(method + b" / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
            assert head.split(b" ")[1] == expected
            assert head.lower().count(b"connection: close") == 1
            assert b"set-cookie" not in head
            assert bool(body) == (method == b"GET")
            if body and expected == b"500":
                assert b'"code":"internal_error"' in body

    run(test())


@pytest.mark.parametrize("end", ["client", "server", "deadline", "room"])
def test_a_connection_without_a_byte_ends(end: str, settings: Any) -> None:
    settings.API_CONNECTIONS_PER_ADDRESS_MAX = 1

    async def test() -> None:
        async with run_server(Application()) as server:
            reader, writer = await server.connect()
            await wait_until(lambda: len(server.connections) == 1)
            (place,) = server.connections.waiting
            if end == "client":
                writer.write_eof()
            elif end == "server":
                place.owner.shutdown()  # type: ignore[attr-defined]
            elif end == "deadline":
                server.connections.sweep(place.deadline)
            else:
                other = await server.connect()
                other[1].write(GET % 1)
                assert (await read_answer(other)).endswith(b".")
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""
            await wait_until(lambda: len(server.connections) == (end == "room"))
            assert not server.protocols or end == "room"

    run(test())
