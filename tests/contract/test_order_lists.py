"""GET /orders: filters and pages."""

import threading
from typing import Any

from tests.contract.client import Client
from tests.contract.market import Market
from tests.system.exchange import RunningExchange, wait_until


def test_orders_are_filtered_by_client_instrument_and_status(
    client: Client, market: Market, client_id: str
) -> None:
    first, second = market.fresh_instrument(), market.fresh_instrument()
    bought = client.place(first, "buy", 1, 10, client_id=client_id)
    sold = client.place(first, "sell", "0.5", 10, client_id=client_id)
    resting = client.place(second, "buy", 1, 10, client_id=client_id)
    client.cancel(client.place(second, "buy", 1, 9, client_id=client_id)["order_id"])
    rejected = client.place(second, "sell", 2, client_id=client_id)

    def ids(**query: str) -> list[str]:
        orders = client.get("/orders", client_id=client_id, **query).json["orders"]
        return [order["order_id"] for order in orders]

    assert ids(instrument=first) == [sold["order_id"], bought["order_id"]]
    assert ids(instrument=first, status="filled") == [sold["order_id"]]
    assert ids(status="partially_filled") == [bought["order_id"]]
    assert ids(status="open") == []
    assert ids(instrument=second)[0] == rejected["order_id"]
    assert ids(status="filled") == [resting["order_id"], sold["order_id"]]
    assert len(ids(status="cancelled")) == 2
    assert ids(status="rejected") == []
    assert client.get("/orders", client_id="nobody").json == {"orders": [], "next_cursor": None}
    everything = client.get("/orders", client_id=client_id).json["orders"]
    assert everything == [client.order(order["order_id"]) for order in everything]


def test_pages_give_each_order_once_newest_first(client: Client, instrument: str, client_id: str) -> None:
    placed = [client.place(instrument, "buy", 1, 10, client_id=client_id)["order_id"] for _ in range(7)]
    seen = list_all(client, client_id=client_id, limit=3)
    assert seen == placed[::-1]
    assert list_all(client, client_id=client_id, limit=7) == placed[::-1]
    assert list_all(client, client_id=client_id, limit=1) == placed[::-1]


def test_pages_give_each_order_once_while_new_orders_arrive(
    exchange: RunningExchange, client: Client, instrument: str, client_id: str
) -> None:
    before = [client.place(instrument, "buy", 1, 10, client_id=client_id)["order_id"] for _ in range(60)]
    stop = threading.Event()
    arrived: list[str] = []

    def keep_placing() -> None:
        with Client(exchange.url) as other:
            while not stop.is_set():
                arrived.append(other.place(instrument, "buy", 1, 10, client_id=client_id)["order_id"])

    placing = threading.Thread(target=keep_placing)
    placing.start()
    try:
        wait_until(lambda: arrived, "orders arrive")
        for _ in range(3):
            seen = list_all(client, client_id=client_id, limit=11)
            assert len(set(seen)) == len(seen)
            assert seen == sorted(seen, reverse=True)
            assert set(before) <= set(seen)
    finally:
        stop.set()
        placing.join()


def list_all(client: Client, **query: Any) -> list[str]:
    """Return the ids of the orders on all pages. Fail if a page before the last is not full."""
    ids: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = client.get("/orders", **query, **cursor).json
        ids += [order["order_id"] for order in page["orders"]]
        if page["next_cursor"] is None:
            return ids
        assert len(page["orders"]) == query["limit"]
        cursor = {"cursor": page["next_cursor"]}


def test_a_query_with_a_thousand_parameters_is_refused(client: Client) -> None:
    query = "&".join(f"p{number}=1" for number in range(1_001))
    client.get(f"/orders?{query}").error(400, "invalid_request")
