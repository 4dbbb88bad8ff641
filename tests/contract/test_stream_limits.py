"""Whom /stream closes, and with what."""

import json
import socket
import time

import pytest

from tests.contract.client import Client
from tests.contract.market import Market
from tests.contract.stream import CHANNELS, Stream, meet
from tests.system.exchange import RunningExchange

FRAME_BYTES_MAX = 64 * 1024


def closed_with(asgi_server: str, code: int) -> int:
    """Daphne's WebSocket library sends 1000 and private codes only: there it is the private one."""
    return code + 3000 if asgi_server == "daphne" else code


@pytest.mark.parametrize("letter", ["x", "ü"])
def test_a_frame_may_have_64_kib_and_not_a_byte_more(
    asgi_server: str, exchange: RunningExchange, stream: Stream, letter: str
) -> None:
    head, tail = '{"type":"ping","id":"', '"}'
    room = FRAME_BYTES_MAX - len(head) - len(tail)
    text = letter * (room // len(letter.encode()))
    spaces = " " * (room - len(text.encode()))
    stream.send(head + text + tail + spaces)
    assert stream.receive() == {"type": "pong", "id": text}
    stream.send(head + text + tail + spaces + " ")
    assert stream.close_code() == closed_with(asgi_server, 1009)


def test_a_connection_may_have_100_subscriptions_and_not_one_more(
    asgi_server: str, stream: Stream, market: Market, client: Client
) -> None:
    while len(rows := client.get("/instruments").json["instruments"]) < 33:
        market.fresh_instrument()
    symbols = [row["symbol"] for row in rows][:33]
    stream.subscribe(*CHANNELS, instrument=symbols, client_id="a")
    stream.expect(*["orderbook_snapshot"] * 33)
    stream.subscribe("orders", instrument=symbols[0], client_id="b")
    stream.subscribe(*CHANNELS[1:], instrument=symbols, client_id="a")  # these it has
    stream.send({"type": "subscribe", "channels": ["orders"], "instrument": symbols[0], "client_id": "c"})
    assert stream.close_code() == closed_with(asgi_server, 1008)


def test_a_client_may_send_50_messages_a_second_and_not_one_more(asgi_server: str, stream: Stream) -> None:
    for number in range(51):
        stream.send({"type": "ping", "id": number})
    for number in range(50):
        assert stream.receive()["id"] == number
    assert stream.close_code() == closed_with(asgi_server, 1008)


def test_a_slow_client_is_told_and_closed_and_disturbs_nobody(
    asgi_server: str, exchange: RunningExchange, client: Client, instrument: str
) -> None:
    if asgi_server == "daphne":
        pytest.skip("Daphne takes what it is given without a limit: it never tells that a client is slow")
    closed_before = slow_consumers(client)
    narrow = socket.socket()
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    narrow.connect(("127.0.0.1", exchange.port))
    long_ping = json.dumps({"type": "ping", "id": "x" * 60_000})
    with (
        Stream(exchange.ws_url) as other,
        Stream(exchange.ws_url, sock=narrow, max_queue=1, ping_interval=None) as slow,
    ):
        other.subscribe("trades", instrument=instrument)
        bursts = 0
        while slow_consumers(client) == closed_before:
            bursts += 1
            assert bursts < 12  # 45 MB: memory is not bounded
            next_second = time.monotonic() + 1.05
            for _ in range(45):
                slow.send(long_ping)
            while time.monotonic() < next_second:
                meet(client, instrument)
                other.expect("trade")
        assert slow.close_code() in (1013, None)  # None: read too late for it
        assert json.loads(slow.text)["code"] == "slow_consumer"
        meet(client, instrument)
        other.expect("trade")


def slow_consumers(client: Client) -> str:
    """How many clients were closed, as the metrics say it."""
    lines = client.get("/metrics").text.splitlines()
    return next(line for line in lines if line.startswith("exchange_websocket_slow_consumers_total"))
