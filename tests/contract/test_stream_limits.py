"""The limits of a /stream connection. Beyond them, the exchange closes it and forgets the client."""

import json
import socket
import time
from collections.abc import Callable

import pytest

from tests.contract.client import ANSWER_SECONDS_MAX, Client
from tests.contract.market import Market
from tests.contract.stream import (
    CHANNELS,
    UPGRADE_REQUEST,
    Stream,
    await_no_clients,
    frame,
    make_trade,
    metric,
    open_connections,
    reset_connection,
    slow_consumers,
)
from tests.system.exchange import RunningExchange, wait_until

FRAME_BYTES_MAX = 64 * 1024
LONG_PING = {"type": "ping", "id": "x" * 60_000}
LONG_PINGS_A_SECOND = 45
RECEIVED = "exchange_websocket_messages_received_total"
BURSTS_MAX = 12  # a second of long pings each


def expected_close_code(asgi_server: str, code: int) -> int:
    """Return the close code that this server sends for a limit.

    Daphne's WebSocket library can send only 1000 and private codes, so there it is a private code.
    """
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
    assert stream.close_code() == expected_close_code(asgi_server, 1009)


def test_a_connection_may_have_100_subscriptions_and_not_one_more(
    asgi_server: str, stream: Stream, market: Market, client: Client
) -> None:
    while len(rows := client.get("/instruments").json["instruments"]) < 33:
        market.fresh_instrument()
    symbols = [row["symbol"] for row in rows][:33]
    stream.subscribe(*CHANNELS, instrument=symbols, client_id="a")
    stream.expect(*["orderbook_snapshot"] * 33, *["orders_snapshot"] * 33)
    stream.subscribe("orders", instrument=symbols[0], client_id="b")
    stream.expect("orders_snapshot")
    stream.subscribe("trades", instrument=symbols)  # already subscribed, so they do not count again
    stream.send({"type": "subscribe", "channels": ["orders"], "instrument": symbols[0], "client_id": "c"})
    assert stream.close_code() == expected_close_code(asgi_server, 1008)


@pytest.mark.long
def test_large_books_can_be_followed(
    asgi_server: str, exchange: RunningExchange, client: Client, market: Market
) -> None:
    """The snapshots have more bytes than may wait for a client. On uvicorn, one alone has more."""
    sizes = [20_000] * 12 if asgi_server == "daphne" else [250_000, 100_000, 100_000]
    symbols = market.large_books(*sizes)
    for _ in range(2):  # the books are read from Redis at first, and then kept by the feeds
        with Stream(exchange.ws_url) as stream:
            stream.subscribe("orderbook_deltas", instrument=symbols)
            snapshots = {
                snapshot["instrument"]: snapshot
                for snapshot in stream.expect(*["orderbook_snapshot"] * len(sizes))
            }
            assert [len(snapshots[symbol]["bids"]) for symbol in symbols] == sizes
            client.place(symbols[0], "sell", 1, 10_000)
            (delta,) = stream.expect("orderbook_delta")
            assert delta["previous_sequence"] == snapshots[delta["instrument"]]["sequence"]


def test_daphne_closes_the_connection_if_a_book_is_larger_than_it_can_send(
    asgi_server: str, exchange: RunningExchange, client: Client, market: Market
) -> None:
    if asgi_server != "daphne":
        pytest.skip("uvicorn sends messages of any size")
    await_no_clients(client)
    (symbol,) = market.large_books(30_000)
    with Stream(exchange.ws_url) as stream:
        stream.subscribe("orderbook_deltas", instrument=symbol)
        assert stream.close_code() == expected_close_code(asgi_server, 1011)
    await_no_clients(client)


def test_a_client_may_send_50_messages_a_second_and_not_one_more(asgi_server: str, stream: Stream) -> None:
    stream.send_together({"type": "ping", "id": number} for number in range(51))
    for number in range(50):
        assert stream.receive()["id"] == number
    assert stream.close_code() == expected_close_code(asgi_server, 1008)


def test_a_slow_client_is_told_and_closed_and_does_not_disturb_others(
    asgi_server: str, exchange: RunningExchange, client: Client, instrument: str
) -> None:
    if asgi_server == "daphne":
        pytest.skip("Daphne buffers messages without a limit, so no client is slow for the exchange")
    await_no_clients(client)
    closed_before = slow_consumers(client)
    with (
        Stream(exchange.ws_url) as other,
        Stream(exchange.ws_url, sock=narrow_socket(exchange), max_queue=1, ping_interval=None) as slow,
    ):
        other.subscribe("trades", instrument=instrument)
        bursts = 0
        while slow_consumers(client) == closed_before:
            bursts += 1
            assert bursts < BURSTS_MAX, "30 MB are unread, so memory is not bounded"
            send_until_closed(client, closed_before, lambda: slow.send(LONG_PING))
            next_second = time.monotonic() + 1.05
            while time.monotonic() < next_second:
                make_trade(client, instrument)
                other.expect("trade")
        # The exchange forgets the slow client at once. The client gets the error when it reads.
        wait_until(lambda: open_connections(client) == 2, "the slow client is forgotten")
        assert slow.close_code() == 1013
        assert json.loads(slow.text)["code"] == "slow_consumer"
        make_trade(client, instrument)
        other.expect("trade")


def test_a_slow_client_that_vanishes_when_it_is_told_is_forgotten(
    asgi_server: str, exchange: RunningExchange, client: Client
) -> None:
    if asgi_server == "daphne":
        pytest.skip("Daphne buffers messages without a limit, so no client is slow for the exchange")
    await_no_clients(client)
    closed_before = slow_consumers(client)
    slow = narrow_socket(exchange)
    slow.settimeout(ANSWER_SECONDS_MAX)
    slow.sendall(UPGRADE_REQUEST)
    assert b" 101 " in slow.recv(1_000)
    bursts = 0
    while slow_consumers(client) == closed_before:
        bursts += 1
        assert bursts < BURSTS_MAX, "30 MB are unread, so memory is not bounded"
        send_until_closed(client, closed_before, lambda: slow.sendall(frame(LONG_PING)))
        next_second = time.monotonic() + 1.05
        wait_until(lambda end=next_second: time.monotonic() > end, "a second has passed")  # type: ignore[misc]
    reset_connection(slow)
    await_no_clients(client)


def test_a_client_that_sends_a_flood_is_forgotten(exchange: RunningExchange, client: Client) -> None:
    """The messages arrive together. All messages after the first one beyond the limit are ignored."""
    await_no_clients(client)
    pings = b"".join(frame({"type": "ping", "id": number}) for number in range(200))
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", exchange.port), ANSWER_SECONDS_MAX) as connection:
            connection.sendall(UPGRADE_REQUEST)
            answers = connection.recv(1_000)
            assert b" 101 " in answers
            connection.sendall(pings)
            while b"\x88\x02" not in answers:  # the head of a close frame
                data = connection.recv(65_536)
                assert data, answers[-200:]
                answers += data
            assert answers.count(b'"pong"') == 50
    await_no_clients(client)


def test_clients_that_vanish_at_the_handshake_are_forgotten(
    exchange: RunningExchange, client: Client
) -> None:
    await_no_clients(client)
    for _ in range(300):
        connection = socket.create_connection(("127.0.0.1", exchange.port))
        connection.sendall(UPGRADE_REQUEST)
        reset_connection(connection)
    with Stream(exchange.ws_url) as stream:
        stream.ping("served after the other clients")
    await_no_clients(client)


def send_until_closed(client: Client, closed_before: float, send: Callable[[], object]) -> None:
    """Send a second's pings, each after the one before was received, until the exchange closes.

    A ping that the exchange has not read when it closes would reset the connection.
    """
    for _ in range(LONG_PINGS_A_SECOND):
        received = metric(client, RECEIVED)
        send()
        wait_until(
            lambda: slow_consumers(client) > closed_before or metric(client, RECEIVED) > received,  # noqa: B023
            "the ping was received",
        )
        if slow_consumers(client) > closed_before:
            return


def narrow_socket(exchange: RunningExchange) -> socket.socket:
    """Connect a socket that receives few bytes before its client reads."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", exchange.port))
    return connection
