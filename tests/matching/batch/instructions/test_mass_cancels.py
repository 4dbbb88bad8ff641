"""Mass cancels: which orders they take off, and what they answer."""

import msgspec
import pytest
from pytest_django.fixtures import Settings

from orders.models import Order
from tests.matching.batch.instructions.rows import Run, outcome, replies
from tests.matching.partition import cancel_all, place, stop


@pytest.mark.parametrize(
    ("narrowed", "expected"),
    [
        ({}, "BSWEE"),
        ({"instrument": "BTC-USD"}, "BSW"),
        ({"instrument": "ETH-USD"}, "EE"),
        ({"instrument": "SOL-USD"}, ""),
        ({"instrument": "GONE-USD"}, ""),
        ({"side": "buy"}, "BWE"),
        ({"side": "sell", "instrument": "BTC-USD"}, "S"),
    ],
)
def test_a_mass_cancel_takes_the_orders_of_its_client_off(
    run: Run, narrowed: dict[str, str], expected: str
) -> None:
    mine = {
        "B": [place("buy", 100, 10)],
        "S": [place("sell", 200, 10)],
        "W": [stop("buy", 110, 10)],
        "E": [place("buy", 100, 1, instrument="ETH-USD"), place("sell", 200, 1, instrument="ETH-USD")],
    }
    if "side" in narrowed:
        mine["E"] = mine["E"][:1]
    orders = [order for some in mine.values() for order in some]
    other = place("buy", 100, 10, client_id="bob")
    batches = run(*orders, other, cancel_all("client-A", **narrowed))
    ids = {order.order_id for letter in expected for order in mine[letter]}
    ((kind, body),) = replies(batches)
    answer = msgspec.json.decode(body)
    assert (kind, answer["count"], set(answer["order_ids"])) == ("cancelled_all", len(ids), ids)
    cancelled = Order.objects.filter(status="cancelled", reason="client_request")
    assert {str(row.order_id) for row in cancelled} == ids
    assert outcome(other)[0] == "open"


def test_a_mass_cancel_lists_a_limited_number_of_orders(run: Run, settings: Settings) -> None:
    settings.CANCELLED_IDS_MAX = 2
    orders = [place("buy", 100, 10) for _ in range(3)]
    ((_, body),) = replies(run(*orders, cancel_all("client-A")))
    ids = [order.order_id for order in orders[:2]]
    assert msgspec.json.decode(body) == {"count": 3, "order_ids": ids, "is_more": False}
