"""GET /orders: filters and pages."""

import itertools
import threading
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest

from tests.contract.client import Client
from tests.contract.conftest import ON_UVICORN
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


STATUSES_OF_NAMES = {
    "pending": {"pending"},
    "open": {"open"},
    "partially_filled": {"partially_filled"},
    "filled": {"filled"},
    "cancelled": {"cancelled"},
    "rejected": {"rejected"},
    "resting": {"open", "partially_filled"},
    "finished": {"filled", "cancelled", "rejected"},
}


@ON_UVICORN
def test_several_statuses_are_a_union(client: Client, instrument: str, client_id: str) -> None:
    def place(side: str, quantity: int, price: int | None = None, **more: Any) -> Any:
        return client.place(instrument, side, quantity, price, client_id=client_id, **more)

    place("buy", 2, 10)
    place("sell", 1, 10)  # fills one of the two
    place("buy", 1, 9)
    client.cancel(place("buy", 1, 8)["order_id"])
    place("buy", 1, 11, type="stop_limit", trigger_price=11)
    place("buy", 1, 20, type="stop_limit", trigger_price=5)  # its condition holds already
    place("sell", 1, 30, type="stop_limit", trigger_price=2)
    everything = client.get("/orders", client_id=client_id).json["orders"]
    assert {order["status"] for order in everything} == {
        *("pending", "open", "partially_filled", "filled", "cancelled", "rejected"),
    }
    for names in itertools.chain.from_iterable(
        itertools.combinations(STATUSES_OF_NAMES, count) for count in (1, 2, 3)
    ):
        wanted = set().union(*(STATUSES_OF_NAMES[name] for name in names))
        for given in (names, (*names[::-1], names[0])):
            query = "".join(f"&status={name}" for name in given)
            found = client.get(f"/orders?client_id={client_id}{query}").json["orders"]
            assert found == [order for order in everything if order["status"] in wanted], given
            assert (
                client.get(f"/orders?client_id={client_id}&instrument={instrument}{query}").json["orders"]
                == found
            )


@ON_UVICORN
@pytest.mark.parametrize(
    "query", ["status=", "status=open&status=", "status=open&status", "status=&status=filled"]
)
def test_none_of_several_statuses_may_be_empty_or_unknown(client: Client, query: str) -> None:
    assert client.get(f"/orders?{query}").refused_fields() == {"status"}
    unknown = query.replace("status=", "status=Open", 1)
    assert client.get(f"/orders?{unknown}").refused_fields() == {"status"}


def test_an_order_is_found_by_its_key(client: Client, instrument: str, client_id: str) -> None:
    keys = ["1", "k", "K", "käy & co/ü?", "x" * 255]
    placed = {
        key: client.place(instrument, "buy", 1, 10, client_id=client_id, idempotency_key=key) for key in keys
    }
    client.place(instrument, "buy", 1, 10, client_id="client-A", idempotency_key=f"{client_id}-other")
    for key, order in placed.items():
        page = client.get("/orders", client_id=client_id, idempotency_key=key).json
        assert page == {"orders": [order], "next_cursor": None}
    for key in ("2", "kk", f"{client_id}-other"):
        page = client.get("/orders", client_id=client_id, idempotency_key=key).json
        assert page == {"orders": [], "next_cursor": None}
    client.cancel(placed["k"]["order_id"])

    def count(**filters: object) -> int:
        query = {"client_id": client_id, "idempotency_key": "k", **filters}
        return len(client.get("/orders", **query).json["orders"])

    # All filters must match, as without a key.
    created_at = placed["k"]["created_at"]
    assert count(status="cancelled") == count(status="finished") == count(instrument=instrument) == 1
    assert count(start=created_at) == count(end="2126-01-01") == count(limit=1) == count(sort="asc") == 1
    assert count(status="open") == count(instrument="BTC-USD") == count(end=created_at) == 0
    assert count(start="2126-01-01") == 0


@ON_UVICORN
def test_a_key_belongs_to_a_client(client: Client, client_id: str) -> None:
    assert client.get("/orders", idempotency_key="k").refused_fields() == {"client_id"}
    for key in ("x" * 256, "a\nb", "\x00", "\x7f"):
        answer = client.get("/orders", client_id=client_id, idempotency_key=key)
        assert answer.refused_fields() == {"idempotency_key"}
    cursor = client.get("/orders", limit=1).json["next_cursor"] or "x"
    answer = client.get("/orders", client_id=client_id, idempotency_key="k", cursor=cursor)
    assert answer.refused_fields() == {"cursor"}


def test_orders_of_a_time_range_are_listed_in_both_orders(
    client: Client, market: Market, instrument: str, client_id: str
) -> None:
    """The times of the orders' ids differ from `created_at`, as those of another machine's clock do."""
    placed = [client.place(instrument, "buy", 1, 10, client_id=client_id)["order_id"] for _ in range(6)]
    start = datetime(2026, 1, 31, 12, tzinfo=UTC)
    times = [start + number * timedelta(milliseconds=1, microseconds=300) for number in (3, 0, 5, 4, 1, 2)]
    for order_id, time in zip(placed, times, strict=True):
        market.database.execute(
            "UPDATE orders_order SET created_at = %s WHERE order_id = %s", (time, order_id)
        )
    by_time = [order_id for _, order_id in sorted(zip(times, placed, strict=True))]
    everything = client.get("/orders", client_id=client_id, sort="asc").json["orders"]
    assert [order["order_id"] for order in everything] == by_time
    shown = [order["created_at"] for order in everything]
    assert shown[:2] == ["2026-01-31T12:00:00.000Z", "2026-01-31T12:00:00.001Z"]
    bounds = [
        None,
        *shown,
        "2026-01-31T12:00:00.0012Z",
        "2026-01-31T13:00:00.003+01:00",
        "2026-02-01",
        "2026-01-31",
    ]
    for first, end in itertools.product(bounds, bounds):
        given = {name: value for name, value in (("start", first), ("end", end)) if value is not None}
        if first is not None and end is not None and moment(first) >= moment(end):
            assert client.get("/orders", client_id=client_id, **given).refused_fields() == {"start"}
            continue
        expected = [
            order["order_id"]
            for order in everything
            if (first is None or moment(first) <= moment(order["created_at"]))
            and (end is None or moment(order["created_at"]) < moment(end))
        ]
        for limit in (2, 50):
            assert list_all(client, client_id=client_id, limit=limit, sort="asc", **given) == expected
            assert list_all(client, client_id=client_id, limit=limit, **given) == expected[::-1]
            narrow = {"client_id": client_id, "instrument": instrument, "status": "open", "sort": "desc"}
            assert list_all(client, limit=limit, **narrow, **given) == expected[::-1]


def moment(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


@ON_UVICORN
@pytest.mark.parametrize(
    "path",
    ["/orders?client_id=a", "/fills?client_id=a", "/trades?instrument=BTC-USD", "/candles?interval=1m"],
)
@pytest.mark.parametrize("name", ["start", "end"])
@pytest.mark.parametrize(
    "text",
    [
        "yesterday",
        "2026-02-30",
        "1769860800",
        "2026-01-31T25:00:00Z",
        "-1",
        "20260131",
        "0001-01-01T00:00:00+05:00",
    ],
)
def test_a_time_must_be_a_time(client: Client, path: str, name: str, text: str) -> None:
    assert client.get(f"{path}&{name}={quote(text)}").refused_fields() == {name}


@ON_UVICORN
@pytest.mark.parametrize("path", ["/orders?client_id=a", "/fills?client_id=a", "/trades?instrument=BTC-USD"])
def test_the_ends_of_time_may_be_asked_for(client: Client, path: str) -> None:
    for span in ("start=0001-01-01", "end=9999-12-31T23:59:59.999999Z", "start=9999-12-31T23:59:59.9999Z"):
        for sort in ("asc", "desc"):
            assert client.get(f"{path}&{span}&sort={sort}").status == 200


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
