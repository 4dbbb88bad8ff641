"""Orders, amends and cancels on /stream, and the channels of fills and quotes."""

from typing import Any

import pytest

from tests.contract.client import Client
from tests.contract.conftest import ON_UVICORN
from tests.contract.stream import Stream, make_trade

UNKNOWN_ID = "01990000-0000-7000-8000-000000000000"


def limit(instrument: str, side: str, price: object, quantity: object = 1, **more: Any) -> dict[str, Any]:
    order = {"client_id": "client-A", "instrument": instrument, "side": side, "type": "limit"}
    return order | {"price": price, "quantity": quantity} | more


def ask(stream: Stream, kind: str, identity: object = 1, **fields: Any) -> Any:
    """Send a request, and return its result without the type and the id."""
    stream.send({"type": kind, "id": identity, **fields})
    (result,) = stream.expect("result")
    assert list(result)[:3] == ["type", "id", "status"]
    assert result.pop("id") == identity
    del result["type"]
    return result


def test_an_order_gets_the_answer_of_rest(stream: Stream, client: Client, instrument: str) -> None:
    result = ask(stream, "place_order", order=limit(instrument, "buy", 10))
    assert result.pop("status") == 201
    assert result.keys() == {"order"}
    assert result["order"] == client.get(f"/orders/{result['order']['order_id']}").json


@ON_UVICORN
def test_an_order_on_the_stream_is_a_retry_of_the_same_order_over_rest(
    stream: Stream, client: Client, instrument: str
) -> None:
    order = limit(instrument, "buy", 10, idempotency_key="key-1")
    placed = client.post("/orders", order).json
    again = ask(stream, "place_order", order=order)
    assert (again["status"], again["replayed"], again["order"]) == (200, True, placed)
    other = ask(stream, "place_order", order=order | {"price": 11})
    assert (other["status"], other["error"]["code"]) == (422, "idempotency_key_reused")


@ON_UVICORN
def test_several_orders_have_a_result_each(stream: Stream, client: Client, instrument: str) -> None:
    orders = [limit(instrument, "buy", 10), limit(instrument, "buy", "10.001"), limit(instrument, "sell", 12)]
    result = ask(stream, "place_orders", orders=orders)
    assert result["status"] == 200
    assert [item["status"] for item in result["results"]] == [201, 400, 201]
    assert result["results"][1]["error"]["fields"].keys() == {"price"}
    assert [result["results"][number]["order"]["status"] for number in (0, 2)] == ["open", "open"]


@ON_UVICORN
def test_orders_are_amended_and_cancelled(stream: Stream, client: Client, instrument: str) -> None:
    order = client.place(instrument, "buy", 2, 10)
    order_id = order["order_id"]
    amended = ask(stream, "amend_order", order_id=order_id, quantity=1)
    assert (amended["status"], amended["order"]["quantity"]) == (200, 1)
    both = ask(
        stream,
        "amend_orders",
        amends=[{"order_id": order_id, "price": 11}, {"order_id": UNKNOWN_ID, "price": 1}],
    )
    assert [item["status"] for item in both["results"]] == [200, 404]
    refused = ask(stream, "amend_order", order_id=order_id, trigger_price=5)
    assert (refused["status"], refused["error"]["reason"]) == (409, "not_applicable")
    cancelled = ask(stream, "cancel_order", order_id=order_id)
    assert (cancelled["status"], cancelled["order"]["reason"]) == (200, "client_request")
    gone = ask(stream, "cancel_order", order_id=order_id)
    assert (gone["status"], gone["error"]["code"]) == (409, "order_not_open")


@ON_UVICORN
def test_all_orders_of_a_client_are_cancelled(stream: Stream, client: Client, instrument: str) -> None:
    resting = client.place(instrument, "buy", 1, 10, client_id="client-B")
    client.place(instrument, "sell", 1, 12, client_id="client-B")
    result = ask(stream, "cancel_orders", client_id="client-B", instrument=instrument, side="buy")
    assert result == {
        "status": 200,
        "cancelled": [resting["order_id"]],
        "cancelled_count": 1,
        "not_open": [],
        "not_found": [],
    }


@ON_UVICORN
def test_a_dead_mans_switch_is_set_and_removed(stream: Stream) -> None:
    armed = ask(stream, "cancel_after", client_id="client-C", timeout_seconds=60)
    assert armed.keys() == {"status", "client_id", "timeout_seconds", "cancel_at"}
    assert armed["cancel_at"] is not None
    assert ask(stream, "cancel_after", client_id="client-C", timeout_seconds=0)["cancel_at"] is None


@ON_UVICORN
@pytest.mark.parametrize(
    ("kind", "fields", "invalid"),
    [
        ("place_order", {}, {"order"}),
        ("place_order", {"order": 1}, {"body"}),
        ("place_order", {"order": {}, "orders": []}, {"orders"}),
        ("place_orders", {"orders": []}, {"orders"}),
        ("place_orders", {"orders": [{}] * 101}, {"orders"}),
        ("amend_order", {"order_id": UNKNOWN_ID}, {"body"}),
        ("amend_order", {"price": 1}, {"order_id"}),
        ("amend_order", {"order_id": UNKNOWN_ID, "idempotency_key": "k", "price": 1}, {"order_id"}),
        ("amend_orders", {"amends": "all"}, {"amends"}),
        ("cancel_order", {"order_id": "1"}, {"order_id"}),
        ("cancel_orders", {}, {"client_id"}),
        ("cancel_after", {"client_id": "client-A", "timeout_seconds": 86_401}, {"timeout_seconds"}),
    ],
)
def test_an_invalid_request_names_its_fields(
    stream: Stream, kind: str, fields: dict[str, Any], invalid: set[str]
) -> None:
    result = ask(stream, kind, **fields)
    assert (result["status"], result["error"]["code"]) == (400, "invalid_request")
    assert result["error"]["fields"].keys() == invalid


@ON_UVICORN
@pytest.mark.parametrize("kind", ["place_order", "cancel_orders"])
def test_a_request_needs_an_id(stream: Stream, kind: str) -> None:
    stream.send({"type": kind, "client_id": "client-A"})
    stream.expect_error("invalid_message")


@pytest.mark.parametrize("identity", [7, "seven", 7.5, None, [1, {"a": "b"}]])
@ON_UVICORN
def test_a_result_has_the_id_as_it_was_sent(stream: Stream, identity: object) -> None:
    stream.send({"type": "cancel_order", "id": identity, "order_id": UNKNOWN_ID})
    (result,) = stream.expect("result")
    assert (result["id"], result["status"]) == (identity, 404)


def test_orders_of_a_connection_are_matched_in_the_order_in_which_they_were_sent(
    stream: Stream, client: Client, instrument: str
) -> None:
    for number in range(100):
        stream.send({"type": "place_order", "id": number, "order": limit(instrument, "buy", 10)})
    results = [stream.receive() for _ in range(100)]
    assert [result["status"] for result in results] == [201] * 100
    by_id = {result["id"]: result["order"]["order_id"] for result in results}
    sale = client.place(instrument, "sell", 100, 10)
    makers = [
        client.get(f"/orders/{by_id[number]}").json["trades"][0]["trade_id"] for number in range(0, 100, 9)
    ]
    trades = [trade["trade_id"] for trade in sale["trades"]]
    assert makers == trades[::9]


@ON_UVICORN
def test_orders_do_not_count_as_messages_but_invalid_ones_do(stream: Stream, instrument: str) -> None:
    for number in range(200):  # many more than 50 in a second
        stream.send({"type": "place_order", "id": number, "order": limit(instrument, "buy", 10)})
    assert {stream.receive()["status"] for _ in range(200)} == {201}
    stream.send_together({"type": "place_order", "id": number, "order": {}} for number in range(60))
    assert stream.close_code() == 1008


def test_fills_go_to_their_client_alone(stream: Stream, client: Client, instrument: str) -> None:
    stream.subscribe("fills", instrument=instrument, client_id="client-A")
    maker = client.place(instrument, "buy", 3, 10, client_id="client-A", idempotency_key="fills-1")
    client.place(instrument, "sell", 1, 10, client_id="client-B")
    own = client.place(instrument, "sell", 1, 10, client_id="client-A")
    first, second, third = stream.expect("fill", "fill", "fill")
    assert first == {
        "type": "fill",
        "trade_id": first["trade_id"],
        "order_id": maker["order_id"],
        "client_id": "client-A",
        "idempotency_key": "fills-1",
        "instrument": instrument,
        "side": "buy",
        "price": 10,
        "quantity": 1,
        "liquidity": "maker",
        "sequence": 2,
        "timestamp": first["timestamp"],
    }
    by_order = {fill["order_id"]: fill for fill in (second, third)}
    assert by_order.keys() == {maker["order_id"], own["order_id"]}
    assert by_order[own["order_id"]]["side"] == "sell"
    assert by_order[own["order_id"]]["liquidity"] == "taker"
    assert second["trade_id"] == third["trade_id"] == own["trades"][0]["trade_id"]


@ON_UVICORN
def test_an_order_update_has_the_fills_of_its_commit(stream: Stream, client: Client, instrument: str) -> None:
    for _ in range(60):  # more than an update's document shows
        client.place(instrument, "sell", 1, 10, client_id="client-B")
    stream.subscribe("orders", instrument=instrument, client_id="client-A")
    stream.expect("orders_snapshot")
    buy = client.place(instrument, "buy", 61, 10)
    (update,) = stream.expect("order_update")
    assert [fill["trade_id"] for fill in update["fills"]] == [trade["trade_id"] for trade in buy["trades"]]
    assert update["fills"] == buy["trades"]
    client.place(instrument, "sell", 1, 10, client_id="client-B")
    (update,) = stream.expect("order_update")
    assert [fill["liquidity"] for fill in update["fills"]] == ["maker"]
    client.cancel(client.place(instrument, "buy", 1, 9)["order_id"])
    assert [update["fills"] for update in stream.expect("order_update", "order_update")] == [[], []]


@ON_UVICORN
def test_pending_orders_are_open_orders(stream: Stream, client: Client, instrument: str) -> None:
    stop = limit(instrument, "buy", 12, type="stop_limit", trigger_price=11)
    pending = client.post("/orders", stop).json
    assert pending["status"] == "pending"
    stream.subscribe("orderbook_deltas", instrument=instrument)
    stream.expect("orderbook_snapshot")
    stream.subscribe("orders", instrument=instrument, client_id="client-A")
    (snapshot,) = stream.expect("orders_snapshot")
    assert [order["order_id"] for order in snapshot["orders"]] == [pending["order_id"]]
    client.cancel(pending["order_id"])
    messages = [stream.receive(), stream.receive()]
    both = {message["type"]: message for message in messages}
    assert both.keys() == {"order_update", "orderbook_delta"}, messages
    assert both["order_update"]["status"] == "cancelled"
    delta = both["orderbook_delta"]
    assert (delta["previous_sequence"], delta["sequence"], delta["changes"]) == (1, 2, [])


def test_quotes_are_sent_when_the_best_prices_change(stream: Stream, client: Client, instrument: str) -> None:
    stream.subscribe("quotes", instrument=instrument)
    (empty,) = stream.expect("quote")
    assert (empty["bid"], empty["bid_quantity"], empty["ask"], empty["ask_quantity"]) == (None,) * 4
    client.place(instrument, "buy", 2, 10)
    (quote,) = stream.expect("quote")
    assert (quote["instrument"], quote["bid"], quote["bid_quantity"], quote["ask"]) == (
        instrument,
        10,
        2,
        None,
    )
    client.place(instrument, "buy", 2, 9)  # not the best price
    client.place(instrument, "buy", 1, 10)
    (quote,) = stream.expect("quote")
    assert (quote["bid"], quote["bid_quantity"]) == (10, 3)
    make_trade(client, instrument, 11)
    quotes = stream.receive_until(lambda message: message["ask"] is None and message["sequence"] >= 5)
    assert all(message["type"] == "quote" for message in quotes)


@ON_UVICORN
@pytest.mark.parametrize("channel", ["fills", "orders"])
def test_private_channels_need_a_client(stream: Stream, instrument: str, channel: str) -> None:
    stream.send({"type": "subscribe", "channels": [channel], "instrument": instrument})
    stream.expect_error("invalid_message")
