"""Several orders or amends in one request, and orders that are only tested."""

import threading
from typing import Any

import pytest

from tests.contract.client import Client, order_body
from tests.contract.conftest import ON_UVICORN
from tests.contract.instructed import UNKNOWN_ID, later, outcome, results, statuses
from tests.system.exchange import RunningExchange

# --- POST /orders/batch -----------------------------------------------------------------------------------


def test_each_order_of_a_batch_has_its_own_result_in_the_given_order(
    client: Client, instrument: str, client_id: str
) -> None:
    earlier = client.place(instrument, "buy", 1, 5, client_id=client_id, idempotency_key="earlier")
    body = order_body(instrument, "buy", 1, 10, client_id=client_id)
    orders: list[Any] = [
        body | {"idempotency_key": "new"},
        body | {"price": "10.001"},
        body | {"price": 5, "idempotency_key": "earlier"},
        body | {"price": 6, "idempotency_key": "earlier"},
        body | {"instrument": "NO-USD"},
        body | {"colour": "red"},
        {},
        7,
        body | {"side": "sell", "post_only": True},
        body | {"client_id": "bob", "side": "sell", "time_in_force": "ioc", "quantity": 3},
        body | {"instrument": "SOL-USD", "price": "0.001", "time_in_force": "ioc"},
    ]
    found = results(client.post("/orders/batch", {"orders": orders}))
    expected = [201, 400, 200, 422, 400, 400, 400, 400, 201, 201, 201]
    assert [result["status"] for result in found] == expected
    assert [result.get("replayed") for result in found] == [None, None, True] + [None] * 8
    assert found[2]["order"]["order_id"] == earlier["order_id"]
    assert found[3]["error"]["code"] == "idempotency_key_reused"
    fields = [set(found[number]["error"]["fields"]) for number in (1, 4, 5, 6, 7)]
    required = {"client_id", "instrument", "side", "type", "quantity"}
    assert fields == [{"price"}, {"instrument"}, {"colour"}, required, {"body"}]
    assert outcome(found[8]["order"]) == ("rejected", "would_cross", 0, 1)
    assert outcome(found[9]["order"]) == ("cancelled", "unfilled_ioc", 1, 2)
    assert outcome(found[10]["order"]) == ("cancelled", "unfilled_ioc", 0, 1)
    assert client.order(found[0]["order"]["order_id"])["status"] == "filled"
    for result in found:
        if "order" in result:
            assert result["order"] == client.order(result["order"]["order_id"])


@ON_UVICORN
def test_a_repeated_batch_places_nothing(client: Client, instrument: str, client_id: str) -> None:
    orders = [
        order_body(instrument, "buy", 1, 10, client_id=client_id, idempotency_key=f"key {number}")
        for number in range(3)
    ]
    first = results(client.post("/orders/batch", {"orders": orders}))
    again = results(client.post("/orders/batch", {"orders": orders[::-1]}))
    assert again == [result | {"status": 200, "replayed": True} for result in first[::-1]]
    single = client.post("/orders", orders[0])
    assert (single.status, single.json) == (200, first[0]["order"])
    assert client.levels(instrument) == ([(10, 3, 3)], [])


@ON_UVICORN
def test_a_key_may_come_twice_in_a_batch(client: Client, instrument: str, client_id: str) -> None:
    body = order_body(instrument, "buy", 1, 10, client_id=client_id, idempotency_key="twice")
    orders = [
        body,
        body | {"quantity": "1.0"},
        body | {"quantity": 2},
        body | {"client_id": f"{client_id}-b"},
    ]
    first, again, other, of_another_client = results(client.post("/orders/batch", {"orders": orders}))
    assert (first["status"], again["status"], of_another_client["status"]) == (201, 200, 201)
    assert (again["replayed"], again["order"]) == (True, first["order"])
    assert (other["status"], other["error"]["code"]) == (422, "idempotency_key_reused")
    assert client.levels(instrument) == ([(10, 2, 2)], [])


def test_the_orders_of_a_batch_are_matched_next_to_each_other(
    exchange: RunningExchange, client: Client, instrument: str
) -> None:
    """Another client's orders come before or after a batch, and never between its orders."""
    stop = threading.Event()

    def disturb() -> None:
        with Client(exchange.url) as other:
            while not stop.is_set():
                other.place(instrument, "buy", 2, 10, client_id="bob")

    disturber = threading.Thread(target=disturb)
    disturber.start()
    try:
        orders = [order_body(instrument, "buy", 1, 10, client_id="ann")] * 100
        batches = [results(client.post("/orders/batch", {"orders": orders})) for _ in range(3)]
    finally:
        stop.set()
        disturber.join()
    ids = [[result["order"]["order_id"] for result in batch] for batch in batches]
    client.place(instrument, "sell", 10_000, 10, client_id="tom")
    fills = client.get("/fills", client_id="ann", instrument=instrument, sort="asc", limit=1000).json["fills"]
    assert [fill["order_id"] for fill in fills] == [order_id for batch in ids for order_id in batch]
    sequences = [fill["sequence"] for fill in fills]
    for start in range(0, 300, 100):
        first = sequences[start]
        assert sequences[start : start + 100] == list(range(first, first + 100))


@ON_UVICORN
@pytest.mark.parametrize(("path", "name"), [("/orders/batch", "orders"), ("/orders/amend", "amends")])
def test_a_request_without_a_list_of_1_to_100_objects_is_refused(
    client: Client, instrument: str, path: str, name: str
) -> None:
    order = order_body(instrument, "buy", 1, 10)
    amend = {"order_id": client.place(instrument, "buy", 1, 9)["order_id"], "quantity": 2}
    item = order if name == "orders" else amend
    for value in ([], None, item, "all", 7, [item] * 101):
        assert client.post(path, {name: value}).refused_fields() == {name}
    assert client.post(path, {}).refused_fields() == {name}
    assert client.post(path, {name: [item], "client_id": "ann"}).refused_fields() == {"client_id"}
    assert client.post(path, [item]).refused_fields() == {"body"}
    assert client.post(path, item).refused_fields() == item.keys()
    assert client.book(instrument)["sequence"] == 1


@ON_UVICORN
def test_a_batch_has_no_key_of_its_own(client: Client, instrument: str) -> None:
    body = {"orders": [order_body(instrument, "buy", 1, 10)]}
    answer = client.post("/orders/batch", body, {"Idempotency-Key": "k"})
    assert answer.refused_fields() == {"Idempotency-Key"}
    client.post("/orders/batch", body, {"Content-Type": "text/plain"}).error(415, "unsupported_media_type")
    large = {"orders": [body["orders"][0] | {"idempotency_key": "k" * 700}] * 100}
    client.post("/orders/batch", large).error(413, "payload_too_large")
    assert client.book(instrument)["sequence"] == 0


# --- POST /orders/test ------------------------------------------------------------------------------------

IN_A_MONTH = later(days=30)


@pytest.mark.parametrize(
    "instructions",
    [
        {"type": "limit", "price": 10},
        {"type": "limit", "price": 10, "time_in_force": "gtd", "expires_at": IN_A_MONTH, "post_only": True},
        {"type": "market", "time_in_force": "fok", "self_trade_prevention": "decrement"},
        {"type": "stop", "trigger_price": 8},
        {"type": "take_profit_limit", "trigger_price": 8, "price": 7, "time_in_force": "ioc"},
    ],
    ids=lambda instructions: instructions["type"],
)
def test_a_tested_order_is_shown_as_it_would_be_sent_and_not_placed(
    client: Client, instrument: str, client_id: str, instructions: dict[str, Any]
) -> None:
    body = order_body(instrument, "buy", "1.50", client_id=client_id, idempotency_key="tested") | instructions
    tested = client.post("/orders/test", body)
    assert tested.status == 200
    shown = tested.json
    assert client.get("/orders", client_id=client_id).json["orders"] == []
    assert client.book(instrument)["sequence"] == 0
    placed = client.post("/orders", body)  # the key was not used up
    assert placed.status == 201
    assert shown == {name: placed.json[name] for name in shown}
    assert shown.keys() >= body.keys()
    assert shown.keys() >= {"time_in_force", "expires_at", "post_only", "self_trade_prevention"}
    again = client.post("/orders/test", tested.body)
    assert (again.status, again.json) == (200, shown)


@ON_UVICORN
def test_the_key_of_a_tested_order_may_be_in_the_header(client: Client, instrument: str) -> None:
    body = order_body(instrument, "buy", 1, 10)
    answer = client.post("/orders/test", body, {"Idempotency-Key": "k"})
    assert (answer.status, answer.json["idempotency_key"]) == (200, "k")
    both = client.post("/orders/test", body | {"idempotency_key": "other"}, {"Idempotency-Key": "k"})
    assert both.refused_fields() == {"idempotency_key"}


# --- POST /orders/amend ------------------------------------------------------------------------------------


@ON_UVICORN
def test_each_of_several_amends_has_its_own_result_in_the_given_order(
    client: Client, instrument: str, client_id: str
) -> None:
    by_key = {"client_id": client_id, "idempotency_key": "first"}
    first, second, ended = (
        client.place(instrument, "buy", 5, 10, client_id=client_id, idempotency_key=key)
        for key in ("first", "second", "ended")
    )
    client.cancel(ended["order_id"])
    amends: list[Any] = [
        {"order_id": second["order_id"], "quantity": 4},
        {**by_key, "quantity": 3},
        {"order_id": ended["order_id"], "quantity": 3},
        {"order_id": UNKNOWN_ID, "quantity": 3},
        {"order_id": second["order_id"], "trigger_price": 3},
        {"order_id": second["order_id"], "price": "10.001"},
        {"order_id": second["order_id"], "client_id": "eve", "price": 9},
        {"order_id": second["order_id"]},
        {"quantity": 3},
        {"order_id": second["order_id"], "idempotency_key": "second", "quantity": 3},
        {"idempotency_key": "first", "quantity": 3},
        {"order_id": "1", "quantity": 3},
        3,
        {**by_key, "price": 11, "quantity": 6},
    ]
    found = results(client.post("/orders/amend", {"amends": amends}))
    expected = [200, 200, 409, 404, 409, 400, 404, 400, 400, 400, 400, 400, 400, 200]
    assert [result["status"] for result in found] == expected
    assert found[4]["error"]["reason"] == "not_applicable"
    fields = [set(found[number]["error"]["fields"]) for number in (5, 7, 8, 9, 10, 11, 12)]
    assert fields == [{"price"}, {"body"}, {"order_id"}, {"order_id"}, {"client_id"}, {"order_id"}, {"body"}]
    assert client.levels(instrument) == ([(11, 6, 1), (10, 4, 1)], [])
    assert found[13]["order"] == client.order(first["order_id"])


@ON_UVICORN
def test_a_hundred_amends_are_carried_out_in_the_given_order(client: Client, instrument: str) -> None:
    order = client.place(instrument, "buy", 1, 10)
    sequence = client.book(instrument)["sequence"]
    amends = [{"order_id": order["order_id"], "quantity": 2 + number} for number in range(100)]
    assert statuses(client.post("/orders/amend", {"amends": amends})) == [200] * 100
    assert client.order(order["order_id"])["quantity"] == 101
    assert client.book(instrument)["sequence"] == sequence + 200  # each is a removal and a return
