"""A client of /stream."""

import json
import socket
import struct
import time
from collections.abc import Callable, Iterable
from typing import Any, Self

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.sync.client import connect

from tests.contract.client import Client, exact_json
from tests.patience import PATIENCE_SECONDS
from tests.system.exchange import wait_until

MESSAGE_SECONDS_MAX = PATIENCE_SECONDS
CHANNELS = ("orderbook_deltas", "trades", "orders")

UPGRADE_REQUEST = (
    b"GET /stream HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
)


class Stream:
    """One connection to /stream. Messages are parsed with exact numbers."""

    def __init__(self, url: str, *, origin: Any = None, **options: Any) -> None:
        options |= {"open_timeout": PATIENCE_SECONDS, "ping_timeout": PATIENCE_SECONDS}
        connection = connect(url, origin=origin, max_size=None, compression=None, **options)
        self._connection = connection.__enter__()  # the library expects a `with` block
        self.text = ""  # the last message, as it was written

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def send(self, message: object) -> None:
        """Send an object as JSON, or text or bytes as they are."""
        self._connection.send(message if isinstance(message, str | bytes) else json.dumps(message))

    def send_together(self, messages: Iterable[object]) -> None:
        """Send the messages in one piece, before the server can answer any of them."""
        self._connection.socket.sendall(b"".join(map(frame, messages)))

    def receive(self) -> Any:
        """Return the next message that is not a heartbeat. Heartbeats give it no more time."""
        ends = time.monotonic() + MESSAGE_SECONDS_MAX
        while (message := self.receive_any(max(0.0, ends - time.monotonic()))) == {"type": "heartbeat"}:
            pass
        return message

    def receive_any(self, seconds_max: float) -> Any:
        """Return the next message. It may be a heartbeat."""
        self.text = str(self._connection.recv(timeout=seconds_max))
        return exact_json(self.text)

    def expect(self, *types: str) -> list[Any]:
        """Return the next messages. Fail unless they have these types, in this order."""
        messages = [self.receive() for _ in types]
        assert tuple(message["type"] for message in messages) == types, messages
        return messages

    def receive_until(self, is_last: Callable[[Any], bool]) -> list[Any]:
        """Return the next messages, up to the first that fulfils the condition."""
        ends = time.monotonic() + MESSAGE_SECONDS_MAX
        messages = [self.receive()]
        while not is_last(messages[-1]):
            assert time.monotonic() < ends, messages[-1]
            messages.append(self.receive())
        return messages

    def subscribe(self, *channels: str, **more: Any) -> Any:
        """Subscribe and return the answer."""
        self.send({"type": "subscribe", "channels": channels, **more})
        (answer,) = self.expect("subscribed")
        return answer

    def ping(self, identity: object) -> None:
        """Send a ping. Fail unless the next message is its pong."""
        self.send({"type": "ping", "id": identity})
        assert self.receive() == {"type": "pong", "id": identity}

    def expect_error(self, code: str) -> None:
        """Fail unless the next message is an error with this code."""
        message = self.receive()
        assert message.keys() == {"type", "code", "message"}
        assert (message["type"], message["code"]) == ("error", code)
        assert message["message"]

    def close_code(self) -> int | None:
        """Return the code with which the server closes. Messages before that are skipped."""
        with pytest.raises(ConnectionClosed) as closed:
            self.receive_until(lambda message: False)
        return closed.value.rcvd.code if closed.value.rcvd else None


def make_trade(
    client: Client, instrument: str, price: object = 10, quantity: object = 1, side: str = "buy", **more: Any
) -> tuple[Any, Any]:
    """Let a maker trade with a taker on that side, and return both orders."""
    maker = client.place(instrument, "sell" if side == "buy" else "buy", quantity, price, client_id="maker")
    taker = client.place(instrument, side, quantity, price, client_id="taker", **more)
    assert taker["status"] == "filled"
    return maker, taker


def frame(message: object) -> bytes:
    """Encode a message as a client's frame, for a raw connection."""
    return Frame(Opcode.TEXT, json.dumps(message).encode()).serialize(mask=True)


def reset_connection(connection: socket.socket) -> None:
    """Close the connection as a crash does: with a reset, and without a closing frame."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def open_connections(client: Client) -> float:
    """Return how many stream clients are connected, according to the metrics."""
    return metric(client, "exchange_websocket_connections")


def await_no_clients(client: Client) -> None:
    """Return when the exchange counts one connection: `silent_stream`, which is always open."""
    wait_until(lambda: open_connections(client) == 1, "all clients are forgotten")


def slow_consumers(client: Client) -> float:
    """Return how many clients were closed because they did not read, according to the metrics."""
    return metric(client, "exchange_websocket_slow_consumers_total")


def metric(client: Client, name: str) -> float:
    """Return the current value of a metric without labels."""
    lines = client.get("/metrics").text.splitlines()
    return float(next(line for line in lines if line.startswith(f"{name} ")).split()[1])
