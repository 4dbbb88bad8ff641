"""The edge: handshakes and frames of /stream, tested with raw sockets."""

import socket
from typing import Any

import pytest

from tests.contract.client import Client
from tests.contract.conftest import ON_UVICORN
from tests.contract.edge import CLOSE, POST, connect, send_and_listen
from tests.contract.stream import UPGRADE_REQUEST, frame
from tests.system.exchange import RunningExchange, wait_until

pytestmark = ON_UVICORN  # Daphne's server, Twisted, has other bounds and answers

BAD_ORIGINS = [
    b"http://[",
    b"http://[::1",
    b"\xff\xfe",
    b"",
    b"null",
    b"http://x:99999999",
    b"//",
    b"http://evil.example",
]


@pytest.mark.parametrize("origin", BAD_ORIGINS)
def test_invalid_and_foreign_origins_are_refused(exchange: RunningExchange, origin: bytes) -> None:
    (answer,) = send_and_listen(
        exchange.port, UPGRADE_REQUEST[:-2] + b"Origin: " + origin + b"\r\n\r\n"
    ).answers
    answer.error(403, "forbidden")
    (answer,) = send_and_listen(
        exchange.port, POST + CLOSE + b"Origin: " + origin + b"\r\nContent-Length: 2\r\n\r\n{}"
    ).answers
    answer.error(403, "forbidden")


@pytest.mark.parametrize(
    "change",
    [
        (b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Version: 12"),
        (b"Sec-WebSocket-Version: 13\r\n", b""),
        (b"Sec-WebSocket-Key: ", b"Sec-WebSocket-Key: x"),
    ],
)
def test_invalid_handshakes_are_refused_in_the_common_error_format(
    exchange: RunningExchange, change: tuple[bytes, bytes]
) -> None:
    request = UPGRADE_REQUEST.replace(*change)
    assert request != UPGRADE_REQUEST
    (answer,) = send_and_listen(exchange.port, request).answers
    answer.error(426, "upgrade_required")


def open_stream(exchange: RunningExchange) -> socket.socket:
    connection = connect(exchange.port)
    connection.sendall(UPGRADE_REQUEST)
    assert b" 101 " in connection.recv(1_000)
    return connection


def client_frame(opcode: int, payload: bytes = b"", *, final: bool = True) -> bytes:
    """Return a client's frame, with a mask of zeros, which does not change the payload."""
    return bytes([opcode | (0x80 if final else 0), 0x80 | len(payload)]) + bytes(4) + payload


PING, PONG, CLOSE_FRAME, TEXT, CONTINUATION = 9, 10, 8, 1, 0
FLOODS = {
    "pings": client_frame(PING, b"x") * 60,
    "pongs": client_frame(PONG) * 60,
    "pieces": client_frame(TEXT, b"{", final=False) + client_frame(CONTINUATION, b" ", final=False) * 60,
    "messages and pings": (frame({"type": "ping", "id": 1}) + client_frame(PING)) * 30,
}


def test_orders_that_arrive_together_are_placed_in_order(
    exchange: RunningExchange, client: Client, instrument: str
) -> None:
    """One write has the orders, and the close of the connection, which waits for no result."""

    def order(side: str, key: str, quantity: int) -> dict[str, object]:
        terms = {"instrument": instrument, "side": side, "type": "limit", "price": 10, "quantity": quantity}
        return {"client_id": "client-A", "idempotency_key": f"{instrument}-{key}", **terms}

    def found(key: str) -> list[Any]:
        answer = client.get("/orders", client_id="client-A", idempotency_key=f"{instrument}-{key}")
        return list(answer.json["orders"])

    requests = [
        {"type": "place_order", "id": 1, "order": order("sell", "first", 1)},
        {"type": "place_order", "id": 2, "order": order("sell", "second", 2)},
        {"type": "place_orders", "id": 3, "orders": [order("buy", "third", 2)]},
        {"type": "place_order", "id": 4, "order": order("buy", "fourth", 2)},
    ]
    with open_stream(exchange) as connection:
        connection.sendall(
            b"".join(map(frame, requests)) + client_frame(CLOSE_FRAME, (1000).to_bytes(2, "big"))
        )
        while connection.recv(65_536):
            pass
    wait_until(lambda: found("fourth"), "the last order is placed")
    filled = [found(key)[0]["filled_quantity"] for key in ("first", "second", "third", "fourth")]
    assert filled == [1, 2, 2, 1]


@pytest.mark.parametrize("kind", FLOODS)
def test_all_kinds_of_frames_count_as_messages(exchange: RunningExchange, kind: str) -> None:
    with open_stream(exchange) as connection:
        connection.sendall(FLOODS[kind])
        data = b""
        while chunk := connection.recv(65_536):
            data += chunk
        assert b"\x88\x02" + (1008).to_bytes(2, "big") in data


def test_pings_of_a_client_that_does_not_read_use_bounded_memory(
    exchange: RunningExchange, client: Client
) -> None:
    memory = exchange.part("uvicorn_server").memory_info().rss
    with open_stream(exchange) as connection:
        connection.settimeout(1.0)
        sent = 0
        try:
            while sent < 150_000_000:
                sent += connection.send(client_frame(PING, b"x" * 100) * 1_000)
        except OSError:
            pass  # the exchange has closed the connection, or does not read
        assert sent < 150_000_000  # the exchange has stopped reading
        assert client.get("/instruments").status == 200
    assert exchange.part("uvicorn_server").memory_info().rss - memory < 64_000_000
