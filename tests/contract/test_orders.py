"""Placing, cancelling, reading and listing orders."""

import threading
from decimal import Decimal
from typing import Any

import pytest

from tests.contract.client import Client, order_body
from tests.contract.market import Market
from tests.system.exchange import RunningExchange, wait_until

UNKNOWN_ID = "01990000-0000-7000-8000-000000000000"


def test_a_limit_order_rests(client: Client, instrument: str) -> None:
    order = client.place(instrument, "buy", 0.1, 70150.5, client_id="client-B")
    assert (order["status"], order["reason"], order["client_id"]) == ("open", None, "client-B")
    assert (order["side"], order["type"], order["instrument"]) == ("buy", "limit", instrument)
    assert (order["price"], order["quantity"]) == (Decimal("70150.5"), Decimal("0.1"))
    assert (order["filled_quantity"], order["remaining_quantity"]) == (0, Decimal("0.1"))
    assert (order["average_price"], order["trades"], order["idempotency_key"]) == (None, [], None)
    assert client.levels(instrument) == ([(Decimal("70150.5"), Decimal("0.1"), 1)], [])


def test_matching_orders_are_filled_at_the_makers_price(client: Client, instrument: str) -> None:
    maker = client.place(instrument, "sell", "0.5", "100.10")
    taker = client.place(instrument, "buy", "0.5", "101")
    assert taker["status"] == "filled"
    assert taker["average_price"] == Decimal("100.1")
    (fill,) = taker["trades"]
    assert (fill["price"], fill["quantity"]) == (Decimal("100.1"), Decimal("0.5"))
    assert (fill["side"], fill["liquidity"]) == ("buy", "taker")
    maker = client.order(maker["order_id"])
    assert (maker["status"], maker["average_price"]) == ("filled", Decimal("100.1"))
    assert maker["trades"] == [{**fill, "liquidity": "maker"}]
    assert client.levels(instrument) == ([], [])


def test_a_maker_may_be_filled_in_parts(client: Client, instrument: str) -> None:
    maker = client.place(instrument, "buy", 3, 50)
    client.place(instrument, "sell", 1, 50)
    maker = client.order(maker["order_id"])
    assert (maker["status"], maker["filled_quantity"], maker["remaining_quantity"]) == (
        "partially_filled",
        1,
        2,
    )
    client.place(instrument, "sell", 2, 49)
    maker = client.order(maker["order_id"])
    assert (maker["status"], maker["filled_quantity"]) == ("filled", 3)
    assert [fill["quantity"] for fill in maker["trades"]] == [1, 2]
    assert {fill["liquidity"] for fill in maker["trades"]} == {"maker"}
    assert {fill["side"] for fill in maker["trades"]} == {"sell"}


def test_the_unfilled_part_of_a_limit_order_rests(client: Client, instrument: str) -> None:
    client.place(instrument, "sell", 1, 50)
    taker = client.place(instrument, "buy", 3, 51)
    assert (taker["status"], taker["filled_quantity"], taker["remaining_quantity"]) == (
        "partially_filled",
        1,
        2,
    )
    assert client.levels(instrument) == ([(51, 2, 1)], [])


def test_better_prices_trade_first_and_then_older_orders(client: Client, instrument: str) -> None:
    orders = [client.place(instrument, "sell", 1, price) for price in (102, 100, 101, 100)]
    taker = client.place(instrument, "buy", "3.5", 102)
    assert [(fill["price"], fill["quantity"]) for fill in taker["trades"]] == [
        (100, 1),
        (100, 1),
        (101, 1),
        (102, Decimal("0.5")),
    ]
    fills = [client.order(order["order_id"])["trades"][0]["trade_id"] for order in orders]
    assert [fill["trade_id"] for fill in taker["trades"]] == [fills[1], fills[3], fills[2], fills[0]]


def test_the_average_price_is_weighted_by_quantity(client: Client, instrument: str) -> None:
    client.place(instrument, "sell", 1, "100.01")
    client.place(instrument, "sell", 2, "100.02")
    taker = client.place(instrument, "buy", 3, 200)
    assert taker["average_price"] == Decimal("100.016666666667")


def test_a_market_order_takes_any_price(client: Client, instrument: str) -> None:
    client.place(instrument, "buy", 1, 5)
    client.place(instrument, "buy", 1, "0.01")
    order = client.place(instrument, "sell", 2)
    assert (order["status"], order["price"], order["average_price"]) == ("filled", None, Decimal("2.505"))


def test_a_market_order_on_an_empty_book_is_cancelled(client: Client, instrument: str) -> None:
    order = client.place(instrument, "buy", 1)
    assert (order["status"], order["reason"]) == ("cancelled", "no_liquidity")
    assert (order["filled_quantity"], order["remaining_quantity"], order["trades"]) == (0, 1, [])
    assert client.order(order["order_id"]) == order


def test_the_unfilled_part_of_a_market_order_is_cancelled(client: Client, instrument: str) -> None:
    client.place(instrument, "sell", 1, 100)
    order = client.place(instrument, "buy", 3)
    assert (order["status"], order["reason"]) == ("cancelled", "no_liquidity")
    assert (order["filled_quantity"], order["remaining_quantity"]) == (1, 2)
    assert client.order(order["order_id"]) == order
    client.post(f"/orders/{order['order_id']}/cancel").error(409, "order_not_open")


@pytest.mark.parametrize(
    ("price", "quantity", "digits"),
    [
        ("70150.5", "0.1", ("70150.5", "0.1")),
        ('"70150.50"', '"0.10"', ("70150.5", "0.1")),
        ("0.01", "0.00000001", ("0.01", "0.00000001")),
        ("1e3", "1E-8", ("1000", "0.00000001")),
        ('"1e3"', '"1E-8"', ("1000", "0.00000001")),
        ("10000000", "10000", ("10000000", "10000")),
        ("9999999.99", "9999.99999999", ("9999999.99", "9999.99999999")),
        ("100.000", "1.000000000000", ("100", "1")),
        ("0.29", "0.3", ("0.29", "0.3")),
    ],
)
def test_numbers_are_exact_decimals(
    client: Client, instrument: str, price: str, quantity: str, digits: tuple[str, str]
) -> None:
    price_digits, quantity_digits = digits
    body = (
        f'{{"client_id":"a","instrument":"{instrument}","side":"buy","type":"limit",'
        f'"price":{price},"quantity":{quantity}}}'
    )
    placed = client.post("/orders", body.encode())
    assert placed.status == 201, placed.text
    read = client.get(f"/orders/{placed.json['order_id']}")
    for answer in (placed, read):
        assert answer.number("price") == price_digits
        assert answer.number("quantity") == quantity_digits
        assert answer.number("remaining_quantity") == quantity_digits
        assert answer.number("filled_quantity") == "0"
    book = client.get("/orderbook", instrument=instrument)
    assert (book.number("price"), book.number("quantity")) == (price_digits, quantity_digits)
    assert book.number("cumulative") == quantity_digits


def test_a_later_read_gives_the_same_order_as_the_answer(client: Client, instrument: str) -> None:
    client.place(instrument, "sell", 1, "100.01")
    client.place(instrument, "sell", 2, "100.02")
    for quantity, price in ((2, 200), (5, 200), (1, 1), (1, None)):
        placed = client.place(instrument, "buy", quantity, price, idempotency_key=f"key-{quantity}-{price}")
        assert client.order(placed["order_id"]) == placed


def test_order_ids_grow_with_the_order_of_arrival(client: Client, instrument: str) -> None:
    ids = [client.place(instrument, "buy", 1, 1)["order_id"] for _ in range(10)]
    assert ids == sorted(ids)


def test_orders_of_one_client_may_trade_with_each_other(
    client: Client, instrument: str, client_id: str
) -> None:
    client.place(instrument, "sell", 1, 10, client_id=client_id)
    order = client.place(instrument, "buy", 1, 10, client_id=client_id)
    assert order["status"] == "filled"


def test_a_cancel_takes_a_partially_filled_order_off_the_book(client: Client, instrument: str) -> None:
    order = client.place(instrument, "buy", 2, 10)
    client.place(instrument, "sell", 1, 10)
    cancelled = client.cancel(order["order_id"])
    assert (cancelled["status"], cancelled["reason"]) == ("cancelled", "client_request")
    assert (cancelled["filled_quantity"], cancelled["remaining_quantity"]) == (1, 1)
    assert len(cancelled["trades"]) == 1
    assert client.order(order["order_id"]) == cancelled
    assert client.levels(instrument) == ([], [])
    assert client.place(instrument, "sell", 1)["status"] == "cancelled"


def test_an_order_that_is_not_open_cannot_be_cancelled(client: Client, instrument: str) -> None:
    cancelled = client.place(instrument, "buy", 1, 10)
    client.cancel(cancelled["order_id"])
    maker = client.place(instrument, "buy", 1, 10)
    taker = client.place(instrument, "sell", 1, 10)
    for order in (cancelled, maker, taker):
        client.post(f"/orders/{order['order_id']}/cancel").error(409, "order_not_open")


def test_only_one_of_many_cancels_at_once_succeeds(
    exchange: RunningExchange, client: Client, instrument: str
) -> None:
    order = client.place(instrument, "buy", 1, 10)
    statuses: list[int] = []

    def cancel() -> None:
        with Client(exchange.url) as other:
            statuses.append(other.post(f"/orders/{order['order_id']}/cancel").status)

    threads = [threading.Thread(target=cancel) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] + [409] * 19


@pytest.mark.parametrize("body", [None, {}, {"client_id": "client-A"}])
def test_the_body_of_a_cancel_may_be_left_out(client: Client, instrument: str, body: Any) -> None:
    order = client.place(instrument, "buy", 1, 10)
    assert client.post(f"/orders/{order['order_id']}/cancel", body).status == 200


def test_a_cancel_needs_no_content_type(client: Client, instrument: str) -> None:
    order = client.place(instrument, "buy", 1, 10)
    assert client.send("POST", f"/orders/{order['order_id']}/cancel").status == 200


def test_a_cancel_with_another_clients_id_finds_no_order(client: Client, instrument: str) -> None:
    order = client.place(instrument, "buy", 1, 10)
    answer = client.post(f"/orders/{order['order_id']}/cancel", {"client_id": "somebody-else"})
    answer.error(404, "order_not_found")
    assert client.order(order["order_id"])["status"] == "open"


@pytest.mark.parametrize("order_id", [UNKNOWN_ID, "1", "none", UNKNOWN_ID[:-1], "%00", "%F0%9F%92%A9"])
def test_unknown_orders_are_not_found(client: Client, order_id: str) -> None:
    client.get(f"/orders/{order_id}").error(404, "order_not_found")
    client.post(f"/orders/{order_id}/cancel").error(404, "order_not_found")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"price": "10.001"}, "price"),
        ({"price": "0.005"}, "price"),
        ({"price": 10000000.01}, "price"),
        ({"price": 0}, "price"),
        ({"price": -1}, "price"),
        ({"price": "NaN"}, "price"),
        ({"price": None}, "price"),
        ({"quantity": "0.000000001"}, "quantity"),
        ({"quantity": "1.000000001"}, "quantity"),
        ({"quantity": "10000.00000001"}, "quantity"),
        ({"quantity": 0}, "quantity"),
        ({"quantity": "-0.0"}, "quantity"),
        ({"quantity": -1}, "quantity"),
        ({"quantity": "Infinity"}, "quantity"),
        ({"type": "market"}, "price"),
        ({"type": "iceberg"}, "type"),
        ({"side": "BUY"}, "side"),
        ({"instrument": "NO-USD"}, "instrument"),
        ({"client_id": ""}, "client_id"),
        ({"client_id": "a" * 65}, "client_id"),
        ({"client_id": "a b"}, "client_id"),
        ({"idempotency_key": ""}, "idempotency_key"),
        ({"idempotency_key": "k" * 256}, "idempotency_key"),
    ],
)
def test_an_order_with_an_invalid_field_is_refused(
    client: Client, instrument: str, change: dict[str, Any], field: str
) -> None:
    body = order_body(instrument, "buy", 1, 10) | change
    assert client.post("/orders", body).refused_fields() == {field}
    assert client.book(instrument)["sequence"] == 0


def test_all_invalid_fields_are_named_at_once(client: Client, instrument: str) -> None:
    answer = client.post("/orders", {"instrument": instrument, "side": "up", "price": "x"})
    assert answer.refused_fields() == {"client_id", "type", "side", "price", "quantity"}


@pytest.mark.parametrize("client_id", ["a", "A-Z.a_z:0-9", "x" * 64])
def test_valid_client_ids_are_accepted(client: Client, instrument: str, client_id: str) -> None:
    assert client.place(instrument, "buy", 1, 10, client_id=client_id)["client_id"] == client_id


def test_a_halted_instrument_accepts_cancels_but_no_orders(
    client: Client, market: Market, instrument: str
) -> None:
    order = client.place(instrument, "buy", 1, 10)
    market.set_status(instrument, "halted")
    wait_until(lambda: market.is_seen_by_api(instrument, "halted"), "the API knows of the halt")
    client.post("/orders", order_body(instrument, "buy", 1, 10)).error(409, "instrument_halted")
    assert client.cancel(order["order_id"])["status"] == "cancelled"
    market.set_status(instrument, "active")
    wait_until(lambda: market.is_seen_by_api(instrument, "active"), "the API knows of the resume")
    market.reload_worker()
    assert client.place(instrument, "buy", 1, 10)["status"] == "open"


def test_an_order_is_rejected_if_only_the_worker_knows_of_a_halt(
    client: Client, market: Market, instrument: str
) -> None:
    rejected: Any = None

    def reject_one() -> bool:
        """Place an order during a halt. Return whether it reached the worker.

        If the API learns of the halt first, it refuses the order, and another attempt is needed.
        """
        nonlocal rejected
        market.set_status(instrument, "active")
        wait_until(lambda: market.is_seen_by_api(instrument, "active"), "the API accepts orders")
        market.set_status(instrument, "halted")
        market.reload_worker()
        answer = client.post("/orders", order_body(instrument, "buy", 1, 10))
        rejected = answer.json if answer.status == 201 else None
        return rejected is not None

    wait_until(reject_one, "an order reached the worker during the halt")
    assert (rejected["status"], rejected["reason"]) == ("rejected", "instrument_halted")
    assert client.order(rejected["order_id"]) == rejected
    client.post(f"/orders/{rejected['order_id']}/cancel").error(409, "order_not_open")
    assert client.book(instrument)["sequence"] == 0


def test_the_idempotency_key_may_be_sent_as_a_header(client: Client, instrument: str, client_id: str) -> None:
    body = order_body(instrument, "buy", 1, 10, client_id=client_id)
    first = client.post("/orders", body, {"Idempotency-Key": "key-1"})
    assert (first.status, first.json["idempotency_key"]) == (201, "key-1")
    again = client.post("/orders", body | {"idempotency_key": "key-1"})
    assert (again.status, again.json, again.headers["Idempotency-Replayed"]) == (200, first.json, "true")
    both = client.post("/orders", body | {"idempotency_key": "key-1"}, {"Idempotency-Key": "key-1"})
    assert both.status == 200
    answer = client.post("/orders", body | {"idempotency_key": "key-1"}, {"Idempotency-Key": "key-2"})
    assert answer.refused_fields() == {"idempotency_key"}
    answer = client.post("/orders", body, {"Idempotency-Key": "k" * 256})
    assert answer.refused_fields() == {"idempotency_key"}
