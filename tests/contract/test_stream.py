"""/stream: subscriptions, books, trades, updates of orders, and connections."""

import zlib
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from loadtools.local_book import LocalBook
from tests.contract.client import TIME, Client, order_body
from tests.contract.crowd import Crowd
from tests.contract.market import Market
from tests.contract.stream import (
    MESSAGE_SECONDS_MAX,
    Stream,
    await_no_clients,
    make_trade,
    open_connections,
)
from tests.patience import PATIENCE_SECONDS
from tests.system.exchange import RunningExchange, wait_until


def test_subscribe_unsubscribe_and_ping_are_answered(stream: Stream, instrument: str) -> None:
    answer = stream.subscribe("trades", "orders", instrument=instrument, client_id="client-A")
    assert answer == {
        "type": "subscribed",
        "channels": ["trades", "orders"],
        "instruments": [instrument],
        "client_id": "client-A",
    }
    stream.expect("orders_snapshot")
    stream.ping(7)
    for identity in (None, "a", 1.5, [1, {"a": None}], "ü"):
        stream.send({"type": "ping", "id": identity})
        assert stream.receive()["id"] == identity
    stream.send({"type": "unsubscribe", "channels": ["trades"], "instrument": instrument})
    assert stream.receive() == {"type": "unsubscribed", "channels": ["trades"], "instruments": [instrument]}


@pytest.mark.parametrize("path", ["/", "/orders", "/streams", "/stream/x"])
def test_websockets_are_refused_on_other_paths(exchange: RunningExchange, path: str) -> None:
    url = f"ws://127.0.0.1:{exchange.port}{path}"
    with pytest.raises(InvalidStatus) as refused, connect(url, open_timeout=PATIENCE_SECONDS):
        pass
    assert refused.value.response.status_code == 403


def test_a_trailing_slash_is_optional(exchange: RunningExchange) -> None:
    with Stream(exchange.ws_url + "/") as stream:
        stream.ping(1)


BAD_MESSAGES = [
    *(
        "",
        " ",
        "null",
        "1",
        "[]",
        "{}",
        "not json",
        '{"type"',
        '{"type":null}',
        '{"type":"no"}',
        '{"type":1}',
    ),
    *(
        "[" * 5_000 + "]" * 5_000,
        '{"type":"ping"}x',
        '{"type":"ping","id":"\\ud800"}',
        '{"type":"ping","id":NaN}',
    ),
    '{"type":"subscribe"}',
    '{"type":"subscribe","channels":[]}',
    '{"type":"subscribe","channels":"trades"}',
    '{"type":"subscribe","channels":["no"]}',
    '{"type":"subscribe","channels":["trades",1]}',
    '{"type":"subscribe","channels":["orders"]}',
    '{"type":"subscribe","channels":["orders"],"client_id":""}',
    '{"type":"subscribe","channels":["orders"],"client_id":"a b"}',
    '{"type":"subscribe","channels":["orders"],"client_id":"a\\n"}',
    '{"type":"subscribe","channels":["trades"],"instrument":""}',
    '{"type":"subscribe","channels":["trades"],"instrument":[]}',
    '{"type":"subscribe","channels":["trades"],"instrument":1}',
    '{"type":"subscribe","channels":["trades"],"instrument":["BTC-USD",1]}',
    '{"type":"subscribe","channels":["trades"],"instrument":"BTC-USD","unknown":1}',
    '{"type":"unsubscribe","channels":["no"]}',
    b"\x00\x01",
    b'{"type":"ping"}',
]


def test_invalid_messages_are_answered_with_an_error(stream: Stream) -> None:
    assert len(BAD_MESSAGES) < 50
    for message in BAD_MESSAGES:
        stream.send(message)
        answer = stream.receive()
        assert answer.keys() == {"type", "code", "message"}, message
        assert answer["type"] == "error", message
        assert answer["code"] in ("invalid_json", "invalid_message"), message
    stream.ping(1)


def test_an_error_has_the_id_of_its_message(stream: Stream) -> None:
    for message in ({"type": "nonsense", "id": 7}, {"type": "ping", "id": 7, "unknown": 1}):
        stream.send(message)
        answer = stream.receive()
        assert (answer["type"], answer["code"], answer["id"]) == ("error", "invalid_message", 7)
    stream.ping(1)


def test_an_unknown_instrument_is_answered_with_an_error(
    stream: Stream, client: Client, instrument: str
) -> None:
    stream.send({"type": "subscribe", "channels": ["trades"], "instrument": [instrument, "NO-USD"]})
    stream.expect_error("instrument_not_found")
    make_trade(client, instrument)
    stream.ping("nothing was subscribed")


def test_a_snapshot_of_the_book_is_followed_by_deltas(
    stream: Stream, client: Client, instrument: str
) -> None:
    client.place(instrument, "buy", "0.1", "70150.5")
    client.place(instrument, "buy", "0.00000001", "70150.5")
    stream.subscribe("orderbook_deltas", instrument=instrument)
    (snapshot,) = stream.expect("orderbook_snapshot")
    assert '"price":70150.5,"quantity":0.10000001,"orders":2' in stream.text
    assert TIME.fullmatch(snapshot.pop("timestamp"))
    assert snapshot.keys() == {"type", "instrument", "sequence", "bids", "asks", "checksum"}
    assert (snapshot["instrument"], snapshot["sequence"], snapshot["asks"]) == (instrument, 2, [])

    order = client.place(instrument, "sell", "0.5", "70151")
    (delta,) = stream.expect("orderbook_delta")
    assert TIME.fullmatch(delta.pop("timestamp"))
    assert delta.pop("checksum") == zlib.crc32(b"7015100" + b"50000000" + b"7015050" + b"10000001")
    assert delta == {
        "type": "orderbook_delta",
        "instrument": instrument,
        "sequence": 3,
        "previous_sequence": 2,
        "changes": [{"side": "sell", "price": 70151, "quantity": 0.5, "orders": 1}],
    }
    client.cancel(order["order_id"])
    (delta,) = stream.expect("orderbook_delta")
    assert delta["changes"] == [{"side": "sell", "price": 70151, "quantity": 0, "orders": 0}]
    assert (delta["previous_sequence"], delta["sequence"]) == (3, 4)

    client.place(instrument, "sell", "0.1", "1")
    (delta,) = stream.expect("orderbook_delta")
    assert '"changes":[{"side":"buy","price":70150.5,"quantity":0.00000001,"orders":1}]' in stream.text
    assert (delta["previous_sequence"], delta["sequence"]) == (4, 5)


def test_an_order_that_sweeps_the_book_makes_one_delta(
    stream: Stream, client: Client, instrument: str
) -> None:
    for price in (10, 11, 11, 12):
        client.place(instrument, "sell", 1, price)
    stream.subscribe("orderbook_deltas", instrument=instrument)
    book = LocalBook(*stream.expect("orderbook_snapshot"))
    client.place(instrument, "buy", "4.5", 12)
    (delta,) = stream.expect("orderbook_delta")
    book.apply(delta)
    assert book.sequence == 4 + 4 + 1
    assert book.levels() == client.levels(instrument) == ([(12, 0.5, 1)], [])


def test_a_market_order_without_a_fill_makes_no_delta(
    stream: Stream, client: Client, instrument: str
) -> None:
    stream.subscribe("orderbook_deltas", "orders", instrument=instrument, client_id="client-A")
    stream.expect("orderbook_snapshot", "orders_snapshot")
    client.place(instrument, "buy", 1)
    (update,) = stream.expect("order_update")
    assert (update["status"], update["reason"]) == ("cancelled", "no_liquidity")
    client.place(instrument, "buy", 1, 10)
    messages = {message["type"]: message for message in (stream.receive(), stream.receive())}
    assert messages["orderbook_delta"]["previous_sequence"] == 0


def test_a_trade_is_sent_without_its_clients(stream: Stream, client: Client, instrument: str) -> None:
    stream.subscribe("trades", instrument=instrument)
    make_trade(client, instrument, "70150.5")
    (trade,) = stream.expect("trade")
    assert '"price":70150.5,"quantity":1,' in stream.text
    (row,) = client.get("/trades", instrument=instrument).json["trades"]
    assert trade == {"type": "trade", **row}
    assert "maker" not in stream.text
    assert "taker" not in stream.text


def test_updates_show_the_order_as_rest_does(stream: Stream, client: Client, instrument: str) -> None:
    stream.subscribe("orders", instrument=instrument, client_id="maker")
    stream.expect("orders_snapshot")
    maker, taker = make_trade(client, instrument, "70150.5", idempotency_key=f"key of {instrument}")
    (opened, filled) = stream.expect("order_update", "order_update")
    assert opened == as_update(maker, sequence=1)
    assert filled == as_update(client.order(maker["order_id"]), sequence=2)
    assert '"average_price":70150.5,' in stream.text
    stream.subscribe("orders", instrument=instrument, client_id="taker")
    stream.expect("orders_snapshot")
    resting = client.place(instrument, "buy", 1, 10, client_id="taker")
    cancelled = client.cancel(resting["order_id"])
    (opened, ended) = stream.expect("order_update", "order_update")
    assert opened == as_update(resting, sequence=3)
    assert ended == as_update(cancelled, sequence=4)
    assert (ended["status"], ended["reason"]) == ("cancelled", "client_request")
    assert taker["status"] == "filled"


def as_update(order: Any, sequence: int) -> Any:
    """Return the update that the stream sends for an order of REST, whose trades are in one commit."""
    left_out = ("trades", "trades_complete", "type")
    update = {name: value for name, value in order.items() if name not in left_out}
    kind = {"type": "order_update", "order_type": order["type"]}
    return update | kind | {"sequence": sequence, "fills": order["trades"]}


def test_updates_are_sent_only_to_followers_of_their_client(
    stream: Stream, client: Client, instrument: str
) -> None:
    stream.subscribe("orders", instrument=instrument, client_id="client-B")
    stream.expect("orders_snapshot")
    make_trade(client, instrument)
    order = client.place(instrument, "buy", 1, 10, client_id="client-B")
    (update,) = stream.expect("order_update")
    assert update["order_id"] == order["order_id"]


def test_one_subscription_may_name_several_instruments(
    stream: Stream, client: Client, market: Market
) -> None:
    symbols = [market.fresh_instrument() for _ in range(3)]
    answer = stream.subscribe("orderbook_deltas", "trades", instrument=[*symbols, symbols[0]])
    assert answer["instruments"] == symbols
    snapshots = stream.expect(*["orderbook_snapshot"] * 3)
    assert [snapshot["instrument"] for snapshot in snapshots] == symbols
    for symbol in reversed(symbols):
        client.place(symbol, "buy", 1, 10)
        (delta,) = stream.expect("orderbook_delta")
        assert delta["instrument"] == symbol


def test_a_subscription_without_an_instrument_follows_all_active_ones(
    stream: Stream, client: Client, market: Market
) -> None:
    market.halt_test_instruments()  # a connection can't have more than 100 subscriptions
    halted, active = market.fresh_instrument(), market.fresh_instrument()
    market.set_status(halted, "halted")
    wait_until(lambda: market.is_seen_by_api(halted, "halted"), "the API knows of the halt")
    rows = client.get("/instruments").json["instruments"]
    answer = stream.subscribe("trades")
    assert sorted(answer["instruments"]) == [row["symbol"] for row in rows if row["status"] == "active"]
    assert halted not in answer["instruments"]
    make_trade(client, active)
    (trade,) = stream.expect("trade")
    assert trade["instrument"] == active


def test_an_unsubscribe_without_an_instrument_includes_halted_ones(
    stream: Stream, client: Client, market: Market
) -> None:
    followed, other = market.fresh_instrument(), market.fresh_instrument()
    for symbol in (followed, other):
        market.set_status(symbol, "halted")
    wait_until(lambda: market.is_seen_by_api(other, "halted"), "the API knows of the halts")
    stream.subscribe("trades", "trades", instrument=followed)
    stream.send({"type": "unsubscribe", "channels": ["trades", "trades"]})
    (answer,) = stream.expect("unsubscribed")
    assert answer["channels"] == ["trades"]
    assert followed in answer["instruments"]
    assert other not in answer["instruments"]
    market.set_status(followed, "active")
    wait_until(lambda: market.is_seen_by_api(followed, "active"), "the API knows of the resume")
    market.reload_worker()
    make_trade(client, followed)
    stream.ping("no trade was sent")


def test_an_unsubscribe_ends_only_its_channel(stream: Stream, client: Client, instrument: str) -> None:
    stream.subscribe("orderbook_deltas", "trades", instrument=instrument)
    stream.expect("orderbook_snapshot")
    stream.send({"type": "unsubscribe", "channels": ["orderbook_deltas"], "instrument": instrument})
    stream.expect("unsubscribed")
    make_trade(client, instrument)
    stream.expect("trade")
    stream.subscribe("orderbook_deltas", instrument=instrument)
    stream.expect("orderbook_snapshot")
    stream.send({"type": "unsubscribe", "channels": ["trades"]})
    stream.expect("unsubscribed")
    make_trade(client, instrument)
    stream.receive_until(lambda message: message["type"] == "orderbook_delta" and message["sequence"] == 4)
    stream.ping("no trade was sent")


def test_a_second_subscription_gives_a_fresh_snapshot(
    stream: Stream, client: Client, instrument: str
) -> None:
    stream.subscribe("orderbook_deltas", instrument=instrument)
    stream.expect("orderbook_snapshot")
    client.place(instrument, "buy", 1, 10)
    stream.expect("orderbook_delta")
    stream.subscribe("orderbook_deltas", instrument=instrument)
    (snapshot,) = stream.expect("orderbook_snapshot")
    assert (snapshot["sequence"], len(snapshot["bids"])) == (1, 1)
    client.place(instrument, "buy", 1, 10)
    (delta,) = stream.expect("orderbook_delta")
    assert (delta["previous_sequence"], delta["sequence"]) == (1, 2)
    stream.ping("no delta was sent twice")


def test_all_clients_get_the_same_messages(
    exchange: RunningExchange, client: Client, instrument: str
) -> None:
    streams = [Stream(exchange.ws_url) for _ in range(10)]
    try:
        for stream in streams:
            stream.subscribe("orderbook_deltas", "trades", instrument=instrument)
            stream.expect("orderbook_snapshot")
        for _ in range(10):
            make_trade(client, instrument)
        received = [
            stream.receive_until(lambda message: message["sequence"] == 20 and "changes" in message)
            for stream in streams
        ]
        assert all(messages == received[0] for messages in received)
        assert sum(message["type"] == "trade" for message in received[0]) == 10
    finally:
        for stream in streams:
            stream.__exit__(None, None, None)


def test_a_client_that_reads_gets_all_trades_of_a_large_sweep(
    exchange: RunningExchange, stream: Stream, client: Client, instrument: str
) -> None:
    """The messages are more than a small queue would hold."""
    makers = 1_500
    orders = [order_body(instrument, "sell", "0.00000001", 10, client_id="maker")] * makers
    with Crowd(exchange.url, clients=30) as crowd:
        assert {answer.status for answer in crowd.post(orders)} == {201}
    stream.subscribe("trades", "orders", instrument=instrument, client_id="maker")
    (snapshot,) = stream.expect("orders_snapshot")
    assert (len(snapshot["orders"]), snapshot["complete"], snapshot["sequence"]) == (1_000, False, makers)
    client.place(instrument, "buy", "0.000015", 10)
    received = [stream.receive() for _ in range(2 * makers)]
    assert [message["sequence"] for message in received if message["type"] == "trade"] == list(
        range(makers + 1, 2 * makers + 1)
    )
    assert sum(message["type"] == "order_update" for message in received) == makers


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_pages_of_the_exchange_may_open_the_stream(exchange: RunningExchange, host: str) -> None:
    with Stream(exchange.ws_url, origin=f"http://{host}:{exchange.port}") as stream:
        stream.ping(1)


@pytest.mark.parametrize(
    "origin", ["http://example.com", "https://127.0.0.1.example.com", "null", "http://localhost.example.com"]
)
def test_pages_of_other_origins_may_not_open_the_stream(exchange: RunningExchange, origin: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        Stream(exchange.ws_url, origin=origin)
    assert refused.value.response.status_code == 403


def test_open_connections_are_counted(exchange: RunningExchange, client: Client) -> None:
    await_no_clients(client)
    with Stream(exchange.ws_url) as stream:
        stream.ping(1)
        assert open_connections(client) == 2
    await_no_clients(client)


def test_a_silent_stream_sends_a_heartbeat(silent_stream: Stream) -> None:
    assert silent_stream.receive_any(MESSAGE_SECONDS_MAX) == {"type": "heartbeat"}
    silent_stream.ping(1)
