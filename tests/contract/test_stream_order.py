"""What a connection sends on /stream is carried out in that order, whatever is looked up first.

An amend without `client_id`, and an amend or a cancel by a key, read the database. No request waits
for a result here, so each request would overtake them.
"""

from collections.abc import Callable
from typing import Any

import pytest

from tests.contract.client import Client
from tests.contract.conftest import ON_UVICORN
from tests.contract.stream import Stream
from tests.contract.test_stream_entry import limit

pytestmark = ON_UVICORN

Request = dict[str, Any]
OWN = {"client_id": "client-A"}


def results(stream: Stream, *requests: Request) -> list[Any]:
    """Send the requests in one piece, and return their results in the order of the requests."""
    stream.send_together({"id": number, **request} for number, request in enumerate(requests))
    found = stream.expect(*["result"] * len(requests))
    return sorted(found, key=lambda result: int(result["id"]))


@pytest.fixture
def key(instrument: str) -> Request:
    """Names an order by its client and a key that no other test uses."""
    return {**OWN, "idempotency_key": f"the order of {instrument}"}


def test_an_order_is_cancelled_by_its_key_before_it_was_answered(
    stream: Stream, client: Client, instrument: str, key: Request
) -> None:
    placed, cancelled, again = results(
        stream,
        {"type": "place_order", "order": limit(instrument, "buy", 10, **key)},
        {"type": "cancel_orders", **key},
        {"type": "place_order", "order": limit(instrument, "buy", 10, **key)},
    )
    order_id = placed["order"]["order_id"]
    assert cancelled["cancelled"] == [order_id]
    assert (again["order"]["order_id"], again["order"]["status"]) == (order_id, "cancelled")


def test_an_order_is_amended_by_its_key_before_it_was_answered(
    stream: Stream, client: Client, instrument: str, key: Request
) -> None:
    amend = {"amends": [{**key, "quantity": 4}, {**key, "quantity": 3}]}
    _, one, several, cancelled = results(
        stream,
        {"type": "place_orders", "orders": [limit(instrument, "buy", 10, 9, **key)]},
        {"type": "amend_order", **key, "quantity": 5},
        {"type": "amend_orders", **amend},
        {"type": "cancel_orders", **key},
    )
    assert one["order"]["quantity"] == 5
    assert several["results"][1]["order"]["quantity"] == 3
    assert cancelled["cancelled_count"] == 1


def amend_one(order_id: str, **changes: Any) -> Request:
    return {"type": "amend_order", "order_id": order_id, **changes}


def amend_several(order_id: str, **changes: Any) -> Request:
    return {"type": "amend_orders", "amends": [{"order_id": order_id, **changes}]}


@pytest.mark.parametrize("amend", [amend_one, amend_several])
def test_an_amend_that_names_no_client_is_overtaken_by_no_amend(
    stream: Stream, client: Client, instrument: str, amend: Callable[..., Request]
) -> None:
    order_id = client.place(instrument, "buy", 9, 10)["order_id"]
    found = results(
        stream,
        amend_one(order_id, **OWN, quantity=8),
        amend(order_id, quantity=5),
        amend_one(order_id, **OWN, quantity=7),
        amend(order_id, quantity=3),
        {"type": "cancel_order", "order_id": order_id},
    )
    assert [result["status"] for result in found] == [200] * 5
    order = client.order(order_id)
    assert (order["quantity"], order["status"]) == (3, "cancelled")


def test_an_amended_order_comes_before_an_order_that_was_sent_later(
    stream: Stream, client: Client, instrument: str
) -> None:
    first = client.place(instrument, "buy", 1, 10)["order_id"]
    results(
        stream,
        amend_one(first, price=11),
        {"type": "place_order", "order": limit(instrument, "buy", 11)},
        {"type": "place_orders", "orders": [limit(instrument, "sell", 11, client_id="client-B")]},
    )
    assert client.order(first)["status"] == "filled"
