"""GET /fills, and the trades that an order shows."""

import itertools
from typing import Any

from tests.contract.client import TIME, Client
from tests.contract.conftest import ON_UVICORN
from tests.contract.market import Market

FILL_FIELDS = {
    *("trade_id", "order_id", "idempotency_key", "instrument", "price", "quantity", "side", "liquidity"),
    *("sequence", "timestamp"),
}
UNKNOWN_ID = "01990000-0000-7000-8000-000000000000"
SHOWN_MAX = 1_000  # ORDER_TRADES_SHOWN_MAX


def list_fills(client: Client, **query: Any) -> list[Any]:
    """Return the fills on all pages. Fail if a page before the last is not full."""
    fills: list[Any] = []
    cursor: dict[str, str] = {}
    while True:
        page = client.get("/fills", **query, **cursor).json
        assert page.keys() == {"fills", "next_cursor"}
        for fill in page["fills"]:
            assert fill.keys() == FILL_FIELDS
            assert TIME.fullmatch(fill["timestamp"])
        fills += page["fills"]
        if page["next_cursor"] is None:
            return fills
        assert len(page["fills"]) == query["limit"]
        cursor = {"cursor": page["next_cursor"]}


def test_both_parties_of_a_trade_have_a_fill(client: Client, instrument: str, client_id: str) -> None:
    other = f"{client_id}-other"
    maker = client.place(instrument, "sell", "0.5", "10.5", client_id=client_id, idempotency_key="maker")
    taker = client.place(instrument, "buy", "0.2", 11, client_id=other)
    answer = client.get("/fills", client_id=client_id)
    assert (answer.number("price"), answer.number("quantity")) == ("10.5", "0.2")
    [mine], [theirs] = list_fills(client, client_id=client_id), list_fills(client, client_id=other)
    [trade] = client.get("/trades", instrument=instrument).json["trades"]
    common = {
        name: trade[name] for name in ("trade_id", "instrument", "price", "quantity", "sequence", "timestamp")
    }
    assert mine == common | {
        "order_id": maker["order_id"],
        "idempotency_key": "maker",
        "side": "sell",
        "liquidity": "maker",
    }
    assert theirs == common | {
        "order_id": taker["order_id"],
        "idempotency_key": None,
        "side": "buy",
        "liquidity": "taker",
    }
    assert list_fills(client, order_id=maker["order_id"]) == [mine]
    assert list_fills(client, order_id=taker["order_id"].upper(), client_id=other) == [theirs]


def test_a_self_trade_is_two_fills(client: Client, instrument: str, client_id: str) -> None:
    sell = client.place(instrument, "sell", 1, 10, client_id=client_id)
    buy = client.place(instrument, "buy", 1, 10, client_id=client_id)
    fills = list_fills(client, client_id=client_id, sort="asc")
    assert [(fill["order_id"], fill["side"], fill["liquidity"]) for fill in fills] == [
        (sell["order_id"], "sell", "maker"),
        (buy["order_id"], "buy", "taker"),
    ]
    assert len({fill["trade_id"] for fill in fills}) == 1
    assert list_fills(client, client_id=client_id, limit=1) == fills[::-1]
    assert list_fills(client, client_id=client_id, limit=1, sort="asc") == fills


def test_fills_are_filtered_and_listed_in_both_orders(client: Client, market: Market, client_id: str) -> None:
    first, second = market.fresh_instrument(), market.fresh_instrument()
    orders = []
    for number, instrument in enumerate([first, second, first, first, second] * 2):
        other = client.place(instrument, "sell" if number % 2 else "buy", 1, 10, client_id="crowd")
        side = "buy" if other["side"] == "sell" else "sell"
        orders.append(client.place(instrument, side, 1, 10, client_id=client_id))
    everything = list_fills(client, client_id=client_id, sort="asc")
    assert [fill["order_id"] for fill in everything] == [order["order_id"] for order in orders]
    assert [fill["side"] for fill in everything] == [order["side"] for order in orders]
    for instrument in (first, second):
        expected = [fill for fill in everything if fill["instrument"] == instrument]
        for limit in (1, 3, 1000):
            filters = {"client_id": client_id, "instrument": instrument, "limit": limit}
            assert list_fills(client, **filters, sort="asc") == expected
            assert list_fills(client, **filters) == expected[::-1]
    times = sorted({fill["timestamp"] for fill in everything})
    for start, end in itertools.combinations([*times[::3], "2126-01-01T00:00:00.000Z"], 2):
        expected = [fill for fill in everything if start <= fill["timestamp"] < end]
        span = {"client_id": client_id, "start": start, "end": end}
        assert list_fills(client, **span, limit=2, sort="asc") == expected
        assert list_fills(client, **span, limit=1000) == expected[::-1]
    assert list_fills(client, client_id=client_id, instrument="BTC-USD") == []
    order = orders[0]
    assert len(list_fills(client, order_id=order["order_id"], instrument=order["instrument"])) == 1
    assert list_fills(client, order_id=order["order_id"], instrument=second) == []


@ON_UVICORN
def test_a_client_or_an_order_must_be_named(client: Client, instrument: str, client_id: str) -> None:
    order = client.place(instrument, "buy", 1, 10, client_id=client_id)
    for query in ("", "?sort=asc", f"?instrument={instrument}", "?limit=5"):
        assert client.get(f"/fills{query}").refused_fields() == {"client_id", "order_id"}
    assert list_fills(client, order_id=order["order_id"]) == []
    assert list_fills(client, client_id="nobody") == []
    for query in (f"order_id={UNKNOWN_ID}", f"order_id={order['order_id']}&client_id=client-A"):
        client.get(f"/fills?{query}").error(404, "order_not_found")
    client.get(f"/fills?client_id={client_id}&instrument=NO-USD").error(404, "instrument_not_found")
    for order_id in ("x", order["order_id"].replace("-", ""), f"{{{order['order_id']}}}", "0"):
        assert client.get("/fills", order_id=order_id).refused_fields() == {"order_id"}
    assert client.get("/fills", client_id="client A").refused_fields() == {"client_id"}


def test_an_order_shows_its_last_thousand_trades_and_the_list_of_fills_all(
    client: Client, instrument: str, client_id: str
) -> None:
    count = SHOWN_MAX + 7
    sell = {"client_id": "crowd", "instrument": instrument, "side": "sell", "type": "limit", "quantity": 1}
    asks = [sell | {"price": 10 + number} for number in range(count)]
    for start in range(0, count, 100):
        answer = client.post("/orders/batch", {"orders": asks[start : start + 100]})
        assert {result["status"] for result in answer.json["results"]} == {201}
    taker = client.place(instrument, "buy", count, 10 + count, client_id=client_id, idempotency_key="all")
    assert (taker["status"], taker["filled_quantity"]) == ("filled", count)
    assert taker["trades_complete"] is False
    assert [fill["price"] for fill in taker["trades"]] == list(range(17, 17 + SHOWN_MAX))
    replay = client.post(
        "/orders",
        {
            **sell,
            "client_id": client_id,
            "side": "buy",
            "quantity": count,
            "price": 10 + count,
            "idempotency_key": "all",
        },
    )
    assert (replay.status, replay.json) == (200, taker)
    assert client.order(taker["order_id"]) == taker
    assert client.get("/orders", client_id=client_id).json["orders"] == [taker]
    for limit in (300, 1000):
        fills = list_fills(client, order_id=taker["order_id"], limit=limit, sort="asc")
        assert [fill["price"] for fill in fills] == list(range(10, 10 + count))
        assert list_fills(client, client_id=client_id, limit=limit) == fills[::-1]
    shown = [{name: fill[name] for name in ("trade_id", "price", "quantity")} for fill in fills[7:]]
    assert shown == [{name: fill[name] for name in shown[0]} for fill in taker["trades"]]
