"""/stream after a commit with thousands of changes.

No client that reads is closed, and other clients do not wait.
"""

import socket
import threading
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from loadtools.local_book import LocalBook
from tests.contract.client import Client, order_body
from tests.contract.market import Market
from tests.contract.stream import Stream, metric, slow_consumers
from tests.system.exchange import RunningExchange, wait_until

MAKERS = 5_000  # the largest number of orders that one order may trade with
PRICE_TICKS = 1_000
MESSAGES_AT_ONCE = 50  # messages that a follower reads without a pause
PAUSE_SECONDS = 0.005  # the unit of the followers' pauses
SILENT_CLIENTS = 100
BOOK_LEVELS = 20_000
# Memory for all silent clients. A copy of the book for each client would take twice as much.
SILENT_MIB_MAX = 60


class Follower(threading.Thread):
    """Reads all trades of a burst, with a pause after every MESSAGES_AT_ONCE messages."""

    def __init__(self, stream: Stream, pause_seconds: float) -> None:
        super().__init__()
        self.sequences: list[int] = []
        self.failure: BaseException | None = None
        self._stream = stream
        self._pause_seconds = pause_seconds

    def run(self) -> None:
        pause = threading.Event()
        try:
            while len(self.sequences) < MAKERS:
                message = self._stream.receive()
                assert message["type"] == "trade", message
                self.sequences.append(message["sequence"])
                if len(self.sequences) % MESSAGES_AT_ONCE == 0:
                    pause.wait(self._pause_seconds)
        except BaseException as error:
            self.failure = error


@pytest.fixture
def other_instrument(market: Market) -> str:
    return market.fresh_instrument()


def test_an_order_that_trades_with_thousands_closes_no_follower_that_reads(
    exchange: RunningExchange, client: Client, market: Market, instrument: str, other_instrument: str
) -> None:
    market.place_resting_asks(instrument, count=MAKERS, price_ticks=PRICE_TICKS, client_id="maker")
    closed_before = slow_consumers(client)
    streams = [Stream(exchange.ws_url, max_queue=1, ping_interval=None) for _ in range(6)]
    try:
        followers = [Follower(stream, PAUSE_SECONDS * number) for number, stream in enumerate(streams)]
        for stream in streams:
            stream.subscribe("trades", instrument=instrument)
        for follower in followers:
            follower.start()
        body = order_body(instrument, "buy", "0.00005", client_id="taker")
        assert client.post("/orders", body).json["status"] == "filled"
        while any(follower.is_alive() for follower in followers):  # other orders are accepted meanwhile
            assert client.post("/orders", order_body(other_instrument, "buy", 1, 10)).status == 201
        for follower in followers:
            assert follower.failure is None
            assert follower.sequences == list(range(MAKERS + 1, 2 * MAKERS + 1))
    finally:
        for stream in streams:
            stream.close()
    assert slow_consumers(client) == closed_before


def test_a_client_that_follows_several_channels_gets_every_message_of_a_burst(
    exchange: RunningExchange, stream: Stream, client: Client, market: Market, instrument: str
) -> None:
    """It gets the trades, the updates of all makers' orders, and the deltas of the book."""
    market.place_resting_asks(instrument, count=MAKERS, price_ticks=PRICE_TICKS, client_id="maker")
    channels = ("orderbook_deltas", "trades", "orders")
    stream.subscribe(*channels, instrument=instrument, client_id="maker")
    snapshots = {message["type"]: message for message in (stream.receive(), stream.receive())}
    book = LocalBook(snapshots["orderbook_snapshot"])
    assert client.place(instrument, "buy", "0.00005", client_id="taker")["status"] == "filled"
    trades: list[Any] = []
    updates: list[Any] = []
    while book.sequence < 2 * MAKERS or len(trades) < MAKERS or len(updates) < MAKERS:
        message = stream.receive()
        match message["type"]:
            case "trade":
                trades.append(message)
            case "order_update":
                updates.append(message)
            case _:
                book.apply(message)
    sequences = list(range(MAKERS + 1, 2 * MAKERS + 1))
    assert [trade["sequence"] for trade in trades] == sequences
    assert sorted(update["sequence"] for update in updates) == sequences
    assert {update["status"] for update in updates} == {"filled"}
    assert book.levels() == client.levels(instrument) == ([], [])
    stream.ping("no other message was sent")


@pytest.fixture
def silent_clients(asgi_server: str) -> Iterator[list[Stream]]:
    if asgi_server == "daphne":
        pytest.skip("Daphne buffers messages without a limit")
    streams: list[Stream] = []
    yield streams
    for stream in streams:
        stream._connection.socket.close()


def test_clients_that_do_not_read_share_the_text_of_a_large_book(
    exchange: RunningExchange, client: Client, market: Market, silent_clients: list[Stream]
) -> None:
    (symbol,) = market.large_books(BOOK_LEVELS)
    api = api_process(exchange)
    with Stream(exchange.ws_url) as reader:
        reader.subscribe("orderbook_deltas", instrument=symbol)
        book = LocalBook(*reader.expect("orderbook_snapshot"))
        before = api.memory_info().rss
        made_before = metric(client, "exchange_websocket_snapshots_total")
        for number in range(SILENT_CLIENTS):
            connection = socket.socket()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(("127.0.0.1", exchange.port))
            stream = Stream(exchange.ws_url, sock=connection, max_queue=1, ping_interval=None)
            silent_clients.append(stream)
            stream.send({"type": "subscribe", "channels": ["orderbook_deltas"], "instrument": symbol})
            if number % 10 == 0:  # the book changes, and with it the text of its snapshot
                client.place(symbol, "buy", 1, 9_000)
        sequence = client.book(symbol, levels=1)["sequence"]
        while book.sequence < sequence:
            book.apply(*reader.expect("orderbook_delta"))
        wait_until(
            lambda: metric(client, "exchange_websocket_snapshots_total") > made_before, "a snapshot is made"
        )
        used = api.memory_info().rss - before
        made = metric(client, "exchange_websocket_snapshots_total") - made_before
        assert made <= SILENT_CLIENTS // 4  # many clients share one snapshot
        assert used < SILENT_MIB_MAX * 2**20, f"{used / 2**20:.0f} MiB"


def api_process(exchange: RunningExchange) -> psutil.Process:
    """Return the API process, which serves the stream."""
    return exchange.part("uvicorn_server")
