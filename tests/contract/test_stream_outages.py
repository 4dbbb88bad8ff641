"""/stream while parts of the exchange are away: clients are told that their book may be stale."""

from collections.abc import Iterator

import pytest

from loadtools.local_book import LocalBook
from tests.contract.client import Client, order_body
from tests.contract.stream import Stream, make_trade
from tests.system.exchange import RunningExchange, frozen, is_gone, wait_until

INSTRUMENT = "BTC-USD"


@pytest.fixture(scope="module")
def exchange() -> Iterator[RunningExchange]:
    """An exchange whose parts these tests kill and freeze."""
    with RunningExchange() as running:
        yield running


@pytest.fixture
def book(exchange: RunningExchange, client: Client, stream: Stream) -> LocalBook:
    """The book that the client of `stream` follows, up to an order that was placed here.

    The order's delta may arrive after the answer to the order.
    """
    exchange.await_health()
    # Replies may resume a moment after health.
    place_as_soon_as_possible(client)
    client.place(INSTRUMENT, "buy", 1, 10)
    stream.subscribe("orderbook_deltas", instrument=INSTRUMENT)
    snapshot = LocalBook(*stream.expect("orderbook_snapshot"))
    return follow(stream, snapshot, client.book(INSTRUMENT)["sequence"])


def place_as_soon_as_possible(client: Client) -> None:
    """Place a resting order when the worker matches. Orders of unknown outcome may rest, too.

    The orders have no key, because an order that is found by its key needs no worker.
    """
    body = order_body(INSTRUMENT, "buy", 1, 5)
    wait_until(lambda: client.post("/orders", body).status == 201, "an order is accepted")


def follow(stream: Stream, book: LocalBook, sequence: int) -> LocalBook:
    """Apply messages up to a sequence. Return the book, or a new one if a snapshot has replaced it."""
    while book.sequence < sequence:
        message = stream.receive()
        if message["type"] == "orderbook_snapshot":
            book = LocalBook(message)
        elif message["type"] == "orderbook_delta":
            book.apply(message)
        else:
            assert message["code"] == "stale"
    return book


def expect_stale(stream: Stream) -> None:
    message = stream.receive()
    assert message.keys() == {"type", "code", "message", "instrument"}
    assert (message["type"], message["code"], message["instrument"]) == ("error", "stale", INSTRUMENT)


def expect_delta(stream: Stream, book: LocalBook, client: Client) -> None:
    """Place an order. Fail unless the next message is its delta, which makes the book like REST's."""
    client.place(INSTRUMENT, "buy", 1, 10)
    book.apply(*stream.expect("orderbook_delta"))
    assert book.levels() == client.levels(INSTRUMENT)


def test_followers_get_updates_again_after_redis_was_killed(
    exchange: RunningExchange, client: Client, stream: Stream, book: LocalBook
) -> None:
    redis = exchange.part("valkey-server")
    redis.kill()
    wait_until(lambda: is_gone(redis), "Redis is gone")
    for _ in range(3):
        place_as_soon_as_possible(client)
    shown = client.book(INSTRUMENT)
    book = follow(stream, book, shown["sequence"])
    assert book.levels() == client.levels(INSTRUMENT)
    expect_delta(stream, book, client)


@pytest.mark.parametrize("word", ["run_matching", "valkey-server"])
def test_followers_are_told_when_a_book_may_be_stale_and_when_updates_resume(
    exchange: RunningExchange, client: Client, stream: Stream, book: LocalBook, word: str
) -> None:
    with Stream(exchange.ws_url) as listener, Stream(exchange.ws_url) as late:
        listener.subscribe("trades", "orders", instrument=INSTRUMENT, client_id="a")
        listener.expect("orders_snapshot")
        with frozen(exchange.part(word)):
            expect_stale(stream)
            expect_stale(listener)
            late.subscribe("orderbook_deltas", instrument=INSTRUMENT)
            late.expect("orderbook_snapshot")
            expect_stale(late)
            stream.ping("no second message")
        resumed, snapshot = listener.expect("resumed", "orders_snapshot")
        assert (resumed["instrument"], snapshot["orders"]) == (INSTRUMENT, [])
        for follower in (stream, late):
            (snapshot,) = follower.expect("orderbook_snapshot")
            assert LocalBook(snapshot).levels() == book.levels()
        exchange.await_health()
        place_as_soon_as_possible(client)
        make_trade(client, INSTRUMENT, 20)
        listener.expect("trade")
        sequence = client.book(INSTRUMENT)["sequence"]
        for follower in (stream, late):
            assert follow(follower, book, sequence).levels() == client.levels(INSTRUMENT)


def test_a_book_that_cannot_be_read_is_unavailable(
    exchange: RunningExchange, client: Client, stream: Stream, book: LocalBook
) -> None:
    with Stream(exchange.ws_url) as other:
        other.subscribe("trades", instrument="ETH-USD")  # this makes a feed, but reads no book
        with frozen(exchange.part("valkey-server"), exchange.part("bin/postgres")):
            for instrument in ("ETH-USD", "SOL-USD"):
                other.send({"type": "subscribe", "channels": ["orderbook_deltas"], "instrument": instrument})
                other.receive_until(lambda message: message.get("code") == "unavailable")
            other.send({"type": "ping"})
            other.receive_until(lambda message: message["type"] == "pong")
            expect_stale(stream)
        (snapshot,) = stream.expect("orderbook_snapshot")
        assert LocalBook(snapshot).levels() == book.levels()
        exchange.await_health()
        for instrument in ("ETH-USD", "SOL-USD"):
            other.send({"type": "subscribe", "channels": ["orderbook_deltas"], "instrument": instrument})
            other.receive_until(lambda message: message["type"] == "orderbook_snapshot")
