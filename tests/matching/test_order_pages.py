"""GET /orders on a large table: any filters find all matching orders, and read few others."""

import itertools
import json
from datetime import UTC, datetime
from random import Random
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from pytest_django.fixtures import Settings

from marketdata.selectors import list_open_orders
from orders.models import Order, OrderStatus
from orders.pages import OrderQuery, page_parameters, page_sql
from orders.selectors import list_orders
from tests.matching.partition import Partition, new_id, place

pytestmark = pytest.mark.usefixtures("instruments")


def pages(limit: int = 3, **filters: Any) -> list[list[str]]:
    """Return the ids on each page."""
    found: list[list[str]] = []
    before: UUID | None = None
    while True:
        query = {"client_id": None, "instrument_id": None, "status": None, **filters}
        page = list_orders(OrderQuery(before=before, limit=limit, **query))
        found.append([order.order_id for order in page.orders])
        if page.after is None:
            return found
        assert before is None or page.after < before
        before = page.after


FILLED = {"partially_filled": 1, "filled": 2}


def stored_order(instrument_id: int, *, client_id: str, status: str, number: int) -> Order:
    """Return a row as the worker writes it. It has no trades, so that a page counts no fills."""
    now = datetime.now(UTC)
    return Order(
        order_id=new_id(),
        client_id=client_id,
        instrument_id=instrument_id,
        side="buy",
        type="limit",
        price=1,
        quantity=2,
        filled_quantity=FILLED.get(status, 0),
        filled_notional=FILLED.get(status, 0),
        status=status,
        sequence=number,
        created_at=now,
        updated_at=now,
    )


_INSERT_SQL = """
INSERT INTO orders_order (order_id, client_id, instrument_id, side, type, price, quantity, filled_quantity,
                          filled_notional, prevented_quantity, status, time_in_force, post_only,
                          self_trade_prevention, sequence, created_at, updated_at)
SELECT (lpad(to_hex(%(first)s::bigint), 12, '0') || lpad(to_hex(number), 20, '0'))::uuid, %(client_id)s,
       %(instrument_id)s, 'buy', 'limit', 1, 2, %(filled)s, %(filled)s, 0, %(status)s, 'gtc', false, 'none', number,
       now(), now()
FROM generate_series(1, %(count)s) AS number
"""


def insert_orders(count: int, **columns: Any) -> None:
    """Insert orders that are newer than all stored ones."""
    newest = Order.objects.order_by("-order_id").values_list("order_id", flat=True).first()
    first = (newest.int >> 80) + 1 if newest else 1
    with connection.cursor() as cursor:
        terms = {"first": first, "count": count, "filled": FILLED.get(columns["status"], 0), **columns}
        cursor.execute(_INSERT_SQL, terms)


PARAMETERS = {
    "client": "varchar",
    "instrument": "bigint",
    "statuses": "varchar[]",
    "before": "uuid",
    "after": "uuid",
    "rows": "bigint",
    "merged_max": "bigint",
}


def count_rows_read(query: dict[str, Any], mode: str) -> int:
    """Return how many rows and index entries are read for a page of 3 orders."""
    wanted = OrderQuery(**query, before=None, limit=3)
    sql = page_sql(wanted)
    numbered = sql % {name: f"${number}" for number, name in enumerate(PARAMETERS, start=1)}
    values = page_parameters(wanted)
    with connection.cursor() as cursor:
        cursor.execute(f"SET plan_cache_mode = {mode}")
        cursor.execute(f"PREPARE read_page ({', '.join(PARAMETERS.values())}) AS {numbered}")
        try:
            places = ", ".join(f"%({name})s" for name in PARAMETERS)
            cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE read_page ({places})", values)
            [(plans,)] = cursor.fetchall()
        finally:
            cursor.execute("DEALLOCATE read_page")
            cursor.execute("RESET plan_cache_mode")
    return sum(
        node["Actual Loops"] * (node["Actual Rows"] + node.get("Rows Removed by Filter", 0))
        for node in nodes((plans if isinstance(plans, list) else json.loads(plans))[0]["Plan"])
        if node.get("Relation Name") == "orders_order"
    )


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for part in plan.get("Plans", ()) for node in nodes(part))]


def newest_first(**filters: Any) -> list[str]:
    return [
        str(key) for key in Order.objects.filter(**filters).order_by("-order_id").values_list("pk", flat=True)
    ]


def flat(found: list[list[str]]) -> list[str]:
    return [order_id for page in found for order_id in page]


FILTERS = [
    dict(zip(("client_id", "instrument", "status"), values, strict=True))
    for values in itertools.product(
        (None, "alice", "bob", "nobody"), (None, "BTC-USD", "ETH-USD", "SOL-USD"), (None, *OrderStatus.values)
    )
]


@pytest.fixture
def mixed(instruments: Any) -> None:
    """Store orders of all statuses, for clients and instruments that have few or many of them."""
    rows = []
    random = Random(7)
    for number in range(80):
        rows.append(
            stored_order(
                instruments[random.choice(["BTC-USD", "BTC-USD", "ETH-USD"])].instrument_id,
                client_id=random.choice(["alice", "alice", "bob", "carol"]),
                status=random.choice(OrderStatus.values),
                number=number,
            )
        )
    Order.objects.bulk_create(rows)


@pytest.mark.usefixtures("mixed")
@pytest.mark.parametrize("merged_max", [50_000, 20, 2], ids=lambda merged_max: f"{merged_max} merged")
def test_every_combination_of_filters_finds_the_orders_of_a_plain_query(
    settings: Settings, instruments: Any, merged_max: int
) -> None:
    settings.PAGE_ROWS_MERGED_MAX = merged_max
    for filters in FILTERS:
        symbol = filters["instrument"]
        query = {
            "client_id": filters["client_id"],
            "instrument_id": symbol and instruments[symbol].instrument_id,
            "status": filters["status"],
        }
        expected = newest_first(**{name: value for name, value in query.items() if value is not None})
        for limit in (2, 7, 1000) if merged_max == 50_000 else (1000,):
            found = pages(limit=limit, **query)
            assert flat(found) == expected, filters
            assert all(found[:-1]), "an empty page before the last one"
            if merged_max == 50_000:
                assert {len(page) for page in found[:-1]} <= {limit}


RARE = {"client_id": "alice", "instrument_id": "ETH-USD", "status": "open"}
CROWD = 6_000
ROWS_READ_MAX = 100  # for a page of 3


@pytest.fixture(params=list(itertools.product((True, False), repeat=3)), ids=str)
def rare_filters(request: pytest.FixtureRequest, instruments: Any) -> dict[str, Any]:
    """Store a rare order and many newer ones, and return some of the rare order's filters.

    If there are any, each newer order differs from the rare one in one of them.
    """
    chosen = [name for name, given in zip(RARE, request.param, strict=True) if given]
    common = {"client_id": "crowd", "instrument_id": "SOL-USD", "status": "cancelled"}
    symbols = RARE["instrument_id"], common["instrument_id"]
    rare_instrument, other_instrument = (instruments[symbol].instrument_id for symbol in symbols)
    rare = {**RARE, "instrument_id": rare_instrument}
    crowds = [
        {**rare, name: {**common, "instrument_id": other_instrument}[name]} for name in (chosen or RARE)
    ]
    Order.objects.bulk_create([stored_order(**rare, number=0)])
    for crowd in crowds:
        insert_orders(CROWD // len(crowds), **crowd)
    return {name: rare[name] for name in chosen}


def test_a_rare_order_is_on_the_first_page_however_many_orders_are_newer(
    rare_filters: dict[str, Any],
) -> None:
    """PostgreSQL has the empty table's statistics at first, and then those of the full table."""
    for analyze in (False, True):
        if analyze:
            with connection.cursor() as cursor:
                cursor.execute("ANALYZE orders_order")
        query = {"client_id": None, "instrument_id": None, "status": None, **rare_filters}
        page = list_orders(OrderQuery(before=None, limit=3, **query))
        expected = newest_first(**rare_filters)[:3]
        assert [order.order_id for order in page.orders] == expected
        if rare_filters:
            assert (len(expected), page.after) == (1, None)
        assert count_rows_read(query, "force_custom_plan") < ROWS_READ_MAX
        assert count_rows_read(query, "force_generic_plan") < ROWS_READ_MAX


@pytest.mark.parametrize("status", ["open", "partially_filled"])
def test_a_snapshot_of_open_orders_has_no_other_orders(instruments: Any, status: str) -> None:
    instrument = instruments["ETH-USD"].instrument_id
    other = instruments["SOL-USD"].instrument_id
    mine = {"client_id": "alice", "instrument_id": instrument}
    Order.objects.bulk_create([stored_order(**mine, status=status, number=number) for number in range(3)])
    expected = newest_first(**mine)[::-1]
    insert_orders(CROWD // 3, **mine, status="filled")
    insert_orders(CROWD // 3, client_id="alice", instrument_id=other, status=status)
    insert_orders(CROWD // 3, client_id="crowd", instrument_id=instrument, status=status)
    found = list_open_orders(instrument_id=instrument, client_id="alice", limit=1000)
    assert [str(order.order_id) for order in found.orders] == expected
    found = list_open_orders(instrument_id=instrument, client_id="alice", limit=2)
    assert [str(order.order_id) for order in found.orders] == expected[:2]


def test_a_page_ends_before_it_holds_too_many_fills(settings: Settings) -> None:
    partition = Partition()
    for _ in range(4):
        partition.run(*(place("sell", 100, 1) for _ in range(3)), place("buy", 100, 3, client_id="taker"))
    takers = newest_first(client_id="taker")
    assert pages(limit=10, client_id="taker") == [takers]
    settings.PAGE_FILLS_MAX = 7
    assert pages(limit=10, client_id="taker") == [takers[:2], takers[2:]]
    settings.PAGE_FILLS_MAX = 1  # a page has at least one order, with all its fills
    assert pages(limit=10, client_id="taker") == [[order_id] for order_id in takers]
