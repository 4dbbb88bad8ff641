"""An instrument's bounds: the number of a client's open orders, and the smallest notional."""

from decimal import Decimal
from typing import Any

import pytest

from tests.contract.client import Client, order_body
from tests.contract.conftest import ON_UVICORN
from tests.contract.instructed import results
from tests.contract.market import Market
from tests.contract.stream import Stream

pytestmark = ON_UVICORN


@pytest.fixture
def bounded_instrument(market: Market, instrument: str) -> str:
    """An instrument in which a client may have three open orders."""
    market.set_bounds(instrument, open_orders_max=3)
    return instrument


def test_orders_of_a_client_with_too_many_open_orders_are_rejected(
    client: Client, bounded_instrument: str
) -> None:
    orders = [client.place(bounded_instrument, "buy", 1, 10 + number) for number in range(3)]
    refused = client.place(bounded_instrument, "buy", 1, 20)
    assert (refused["status"], refused["reason"]) == ("rejected", "too_many_orders")
    assert (refused["filled_quantity"], refused["trades"]) == (0, [])
    assert client.order(refused["order_id"]) == refused
    client.post(f"/orders/{refused['order_id']}/cancel").error(409, "order_not_open")
    assert client.place(bounded_instrument, "buy", 1, 20, client_id="client-B")["status"] == "open"
    assert client.cancel(orders[0]["order_id"])["status"] == "cancelled"
    assert client.place(bounded_instrument, "buy", 1, 21)["status"] == "open"
    assert client.place(bounded_instrument, "sell", 1, 30)["status"] == "rejected"
    assert client.place(bounded_instrument, "sell", 1, client_id="client-C")["status"] == "filled"
    assert client.place(bounded_instrument, "sell", 1, 30)["status"] == "open"


def test_a_client_with_too_many_open_orders_can_place_only_market_orders(
    client: Client, bounded_instrument: str
) -> None:
    client.place(bounded_instrument, "sell", 5, 50, client_id="client-B")
    for number in range(3):
        client.place(bounded_instrument, "buy", 1, 10 + number)
    sequence = client.book(bounded_instrument)["sequence"]
    refused = client.place(bounded_instrument, "buy", 1, 50)
    assert (refused["status"], refused["reason"]) == ("rejected", "too_many_orders")
    assert client.book(bounded_instrument)["sequence"] == sequence
    assert client.place(bounded_instrument, "buy", 1)["status"] == "filled"


def test_a_rejection_is_sent_to_the_stream_and_found_by_its_key(
    client: Client, bounded_instrument: str, stream: Stream
) -> None:
    for number in range(3):
        client.place(bounded_instrument, "buy", 1, 10 + number)
    stream.subscribe("orders", instrument=bounded_instrument, client_id="client-A")
    stream.expect("orders_snapshot")
    body = order_body(bounded_instrument, "buy", 1, 20, idempotency_key=f"{bounded_instrument}-key")
    refused = client.post("/orders", body)
    assert (refused.status, refused.json["status"]) == (201, "rejected")
    (update,) = stream.expect("order_update")
    assert (update["status"], update["reason"]) == ("rejected", "too_many_orders")
    again = client.post("/orders", body)
    assert (again.status, again.json) == (200, refused.json)


def test_a_lower_bound_on_open_orders_keeps_the_resting_orders(
    client: Client, market: Market, bounded_instrument: str
) -> None:
    orders = [client.place(bounded_instrument, "buy", 1, 10 + number) for number in range(3)]
    market.set_bounds(bounded_instrument, open_orders_max=1)
    assert client.place(bounded_instrument, "buy", 1, 20)["status"] == "rejected"
    for order in orders:
        assert client.cancel(order["order_id"])["status"] == "cancelled"
    assert client.place(bounded_instrument, "buy", 1, 20)["status"] == "open"


@pytest.mark.parametrize(
    ("price", "quantity"), [("9.99", 1), (1, "9.99999999"), ("0.01", 999), (100000, "0.00009999")]
)
def test_a_limit_order_below_the_smallest_notional_is_refused(
    client: Client, market: Market, instrument: str, price: object, quantity: object
) -> None:
    market.set_bounds(instrument, min_notional=Decimal(10))
    for side in ("buy", "sell"):
        answer = client.post("/orders", order_body(instrument, side, quantity, price))
        assert answer.refused_fields() == {"quantity"}
        assert "10" in answer.json["error"]["fields"]["quantity"][0]
    assert client.book(instrument)["sequence"] == 0


@pytest.mark.parametrize(("price", "quantity"), [(10, 1), ("0.01", 1000), (100000, "0.0001")])
def test_an_order_of_the_smallest_notional_is_accepted(
    client: Client, market: Market, instrument: str, price: object, quantity: object
) -> None:
    market.set_bounds(instrument, min_notional=Decimal(10))
    assert client.place(instrument, "buy", quantity, price)["status"] == "open"
    # Market orders have no smallest notional.
    assert client.place(instrument, "sell", "0.00000001")["status"] == "filled"


def test_an_amend_below_the_smallest_notional_is_refused(
    client: Client, market: Market, instrument: str
) -> None:
    small = client.place(instrument, "buy", 1, 5)
    market.set_bounds(instrument, min_notional=Decimal(10))
    order = client.place(instrument, "buy", 2, 10)
    stop = client.place(instrument, "buy", 2, 10, type="stop_limit", trigger_price=20)
    market_stop = client.place(instrument, "buy", 2, type="stop", trigger_price=20)
    refused: list[tuple[dict[str, Any], dict[str, object]]] = [
        (order, {"quantity": "0.9"}),
        (order, {"price": "4.99"}),
        (order, {"quantity": "0.5", "price": "19.99"}),
        (stop, {"price": "4.99"}),
        (small, {"quantity": "1.5"}),
    ]
    for one, changes in refused:
        answer = client.post(f"/orders/{one['order_id']}/amend", changes)
        assert answer.refused_fields() == {"quantity"}
        (result,) = results(
            client.post("/orders/amend", {"amends": [{"order_id": one["order_id"]} | changes]})
        )
        assert (result["status"], result["error"]["code"]) == (400, "invalid_request")
        assert client.order(one["order_id"]) == one
    taken: list[tuple[dict[str, Any], dict[str, object]]] = [
        (order, {"quantity": 1}),
        (order, {"price": 100, "quantity": "0.1"}),
        (small, {"price": 5}),  # changes nothing
        (small, {"price": 10}),
        (market_stop, {"quantity": "0.00000001"}),
    ]
    for one, changes in taken:
        assert client.post(f"/orders/{one['order_id']}/amend", changes).status == 200


def test_an_order_placed_before_the_bound_is_still_found_by_its_key(
    client: Client, market: Market, instrument: str
) -> None:
    body = order_body(instrument, "buy", 1, 5, idempotency_key=f"{instrument}-early")
    first = client.post("/orders", body)
    market.set_bounds(instrument, min_notional=Decimal(10))
    again = client.post("/orders", body)
    assert (again.status, again.json) == (200, first.json)
