"""GET /orders on a large table: any filters find all matching orders, and read few others."""

import itertools
import json
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from pytest_django.fixtures import Settings

from base.times import TimeRange
from marketdata.selectors import list_open_orders
from orders.models import FINISHED_STATUSES, RESTING_STATUSES, Order, OrderStatus
from orders.pages import OrderQuery, order_page_parameters, order_page_sql
from orders.selectors import find_listed_order, list_orders
from orders.time_keys import first_key
from orders.time_lists import PageBounds, Position, parse_position
from tests.matching.partition import Partition, new_id, place

pytestmark = [pytest.mark.usefixtures("instruments"), pytest.mark.plans]

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)
ALL_TIMES = TimeRange()


def pages(
    *, limit: int = 3, times: TimeRange = ALL_TIMES, oldest_first: bool = False, **filters: Any
) -> list[list[str]]:
    """Return the ids on each page. Positions are passed on as text, as in cursors."""
    found: list[list[str]] = []
    after: Position | None = None
    while True:
        page = list_orders(OrderQuery(**filters, bounds=PageBounds(times, oldest_first, after, limit)))
        found.append([order.order_id for order in page.orders])
        if page.after is None:
            return found
        after = parse_position(str(page.after))


FILLED = {"partially_filled": 1, "filled": 2}


def stored_order(instrument_id: int, *, client_id: str, status: str, **columns: Any) -> Order:
    """Return a row as the worker writes it. It has no trades, so that a page counts no fills."""
    written: dict[str, Any] = {
        "order_id": new_id(),
        "client_id": client_id,
        "instrument_id": instrument_id,
        "side": "buy",
        "type": "limit",
        "price": 1,
        "quantity": 2,
        "filled_quantity": FILLED.get(status, 0),
        "filled_notional": FILLED.get(status, 0),
        "status": status,
        "sequence": 1,
        "created_at": NOW,
        "updated_at": NOW,
    }
    return Order(**written | columns)


_INSERT_SQL = """
INSERT INTO orders_order (order_id, client_id, instrument_id, side, type, price, quantity, filled_quantity,
  filled_notional, status, sequence, time_in_force, prevented_quantity, post_only, self_trade_prevention,
  created_at, updated_at)
SELECT (lpad(to_hex(%(first)s::bigint), 12, '0') || lpad(to_hex(number), 20, '0'))::uuid, %(client_id)s,
       %(instrument_id)s, 'buy', 'limit', 1, 2, %(filled)s, %(filled)s, %(status)s, number, 'gtc', 0, false, 'none',
       %(from)s + number * interval '1 ms', now()
FROM generate_series(1, %(count)s) AS number
"""


def insert_orders(count: int, *, after: datetime = NOW, **columns: Any) -> None:
    """Insert orders, one in each millisecond after this time."""
    newest = Order.objects.order_by("-order_id").values_list("order_id", flat=True).first()
    first = (newest.int >> 80) + 1 if newest else 1
    with connection.cursor() as cursor:
        terms: dict[str, Any] = {
            "first": first,
            "count": count,
            "filled": FILLED.get(columns["status"], 0),
            "from": after,
        }
        cursor.execute(_INSERT_SQL, {**terms, **columns})


PARAMETERS = {
    "client": "varchar",
    "instrument": "bigint",
    "statuses": "varchar[]",
    "begin": "timestamptz",
    "begin_key": "uuid",
    "begin_role": "text",
    "last": "timestamptz",
    "rows": "bigint",
    "merged_max": "bigint",
}


def count_rows_read(query: OrderQuery, mode: str) -> int:
    """Return how many rows and index entries are read for the query's page."""
    sql, values = order_page_sql(query), order_page_parameters(query)
    return count_rows_of(sql, values, PARAMETERS, "orders_order", mode)


def count_rows_of(sql: str, values: dict[str, Any], types: dict[str, str], table: str, mode: str) -> int:
    """Return how many rows and index entries of a table a statement reads."""
    numbered = sql % {name: f"${number}" for number, name in enumerate(types, start=1)}
    with connection.cursor() as cursor:
        cursor.execute(f"SET plan_cache_mode = {mode}")
        cursor.execute(f"PREPARE read_page ({', '.join(types.values())}) AS {numbered}")
        try:
            places = ", ".join(f"%({name})s" for name in types)
            cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE read_page ({places})", values)
            return rows_of_plan(cursor.fetchall(), table)
        finally:
            cursor.execute("DEALLOCATE read_page")
            cursor.execute("RESET plan_cache_mode")


def rows_of_plan(explained: list[Any], table: str) -> int:
    """Return how many rows and index entries of a table the explained statement read."""
    [(plans,)] = explained
    return sum(
        node["Actual Loops"] * (node["Actual Rows"] + node.get("Rows Removed by Filter", 0))
        for node in nodes((plans if isinstance(plans, list) else json.loads(plans))[0]["Plan"])
        if node.get("Relation Name") == table
    )


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for part in plan.get("Plans", ()) for node in nodes(part))]


def sorted_ids(*, oldest_first: bool = False, **filters: Any) -> list[str]:
    """Return the ids that a plain query finds."""
    order = ("created_at", "order_id") if oldest_first else ("-created_at", "-order_id")
    return [str(key) for key in Order.objects.filter(**filters).order_by(*order).values_list("pk", flat=True)]


def flat(found: list[list[str]]) -> list[str]:
    return [order_id for page in found for order_id in page]


STATUS_FILTERS: list[Collection[str] | None] = [
    None,
    *[(status,) for status in OrderStatus.values],
    RESTING_STATUSES,
    FINISHED_STATUSES,
    (OrderStatus.PENDING, *RESTING_STATUSES),
    (OrderStatus.PENDING, OrderStatus.REJECTED),
]
FILTERS = list(
    itertools.product(
        (None, "alice", "bob", "nobody"), (None, "BTC-USD", "ETH-USD", "SOL-USD"), STATUS_FILTERS
    )
)
MOMENTS = [NOW + number * SECOND for number in range(8)]
TIME_RANGES = [
    TimeRange(),
    TimeRange(start=MOMENTS[3]),
    TimeRange(end=MOMENTS[3]),
    TimeRange(MOMENTS[2], MOMENTS[6]),
    TimeRange(MOMENTS[4], MOMENTS[4] + SECOND / 1000),
    TimeRange(start=MOMENTS[-1] + SECOND),
    TimeRange(datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)),
]


@pytest.fixture
def mixed(instruments: Any) -> None:
    """Store orders of all statuses, for clients and instruments that have few or many of them.

    Many have the same time, as the orders of one batch do. The times of their ids come from other
    clocks, which differ by up to an hour.
    """
    random = Random(7)
    rows = []
    for number in range(120):
        created_at = random.choice(MOMENTS)
        id_time = created_at + random.uniform(-1, 1) * HOUR
        rows.append(
            stored_order(
                instruments[random.choice(["BTC-USD", "BTC-USD", "ETH-USD"])].instrument_id,
                client_id=random.choice(["alice", "alice", "bob", "carol"]),
                status=random.choice(OrderStatus.values),
                order_id=UUID(int=first_key(id_time).int + number),
                created_at=created_at,
            )
        )
    Order.objects.bulk_create(rows)


@pytest.mark.usefixtures("mixed")
@pytest.mark.parametrize(
    ("merged_max", "oldest_first"),
    [
        (50_000, False),
        (2, True),
        *(
            pytest.param(*values, marks=pytest.mark.long)
            for values in [(50_000, True), (20, False), (20, True), (2, False)]
        ),
    ],
)
def test_every_combination_of_filters_finds_the_orders_of_a_plain_query(
    settings: Settings, instruments: Any, merged_max: int, oldest_first: bool
) -> None:
    settings.PAGE_ROWS_MERGED_MAX = merged_max
    random = Random(merged_max)
    times_of_filters = itertools.cycle(TIME_RANGES)
    for client_id, symbol, statuses in FILTERS:
        times = next(times_of_filters)
        instrument_id = symbol and instruments[symbol].instrument_id
        filters = {"client_id": client_id, "instrument_id": instrument_id, "status__in": statuses}
        filters |= {"created_at__gte": times.start, "created_at__lt": times.end}
        given = {name: value for name, value in filters.items() if value is not None}
        expected = sorted_ids(oldest_first=oldest_first, **given)
        limit = random.choice((1, 2, 7, 1000))
        query = {"client_id": client_id, "instrument_id": instrument_id, "statuses": statuses}
        found = pages(limit=limit, times=times, oldest_first=oldest_first, **query)
        assert flat(found) == expected, (query, times, limit)
        assert all(found[:-1]), "an empty page before the last one"
        if merged_max == 50_000:
            assert {len(page) for page in found[:-1]} <= {limit}


def test_orders_of_one_moment_are_on_as_many_pages_as_they_need(instruments: Any) -> None:
    """A worker whose clock went back a little gives one time to all orders of up to a second."""
    ids = {symbol: instruments[symbol].instrument_id for symbol in ("BTC-USD", "ETH-USD")}
    Order.objects.bulk_create(
        stored_order(ids[symbol], client_id="alice", status=status, created_at=NOW + number // 400 * SECOND)
        for number in range(800)
        for symbol, status in [Random(number).choice([("BTC-USD", "open"), ("ETH-USD", "filled")])]
    )
    for filters in ({}, {"client_id": "alice"}, {"client_id": "alice", "statuses": ("open",)}):
        chosen: dict[str, Any] = {"status": "open"} if "statuses" in filters else {}
        expected = sorted_ids(**chosen)
        for limit in (30, 399, 400):
            assert flat(pages(limit=limit, **filters)) == expected
            assert flat(pages(limit=limit, oldest_first=True, **filters)) == expected[::-1]


RARE = {"client_id": "alice", "instrument_id": "ETH-USD", "status": "open"}
CROWD = 6_000
ROWS_READ_MAX = 150  # for a page of 3
PLAN_MODES = ("force_custom_plan", "force_generic_plan")


def assert_few_rows_are_read(query: OrderQuery) -> None:
    """PostgreSQL has the empty table's statistics at first, and then those of the full table."""
    for analyze in (False, True):
        if analyze:
            with connection.cursor() as cursor:
                cursor.execute("ANALYZE orders_order")
        for mode in PLAN_MODES:
            assert count_rows_read(query, mode) < ROWS_READ_MAX, (query, analyze, mode)


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
    Order.objects.bulk_create([stored_order(**rare)])
    for crowd in crowds:
        insert_orders(CROWD // len(crowds), **crowd)
    return {name: rare[name] for name in chosen}


def query_of(filters: dict[str, Any], bounds: PageBounds) -> OrderQuery:
    status = filters.get("status")
    others = {name: value for name, value in filters.items() if name != "status"}
    return OrderQuery(**others, statuses=None if status is None else (status,), bounds=bounds)


def test_a_rare_order_is_on_the_first_page_however_many_orders_are_newer(
    rare_filters: dict[str, Any],
) -> None:
    query = query_of(rare_filters, PageBounds(limit=3))
    page = list_orders(query)
    expected = sorted_ids(**rare_filters)[:3]
    assert [order.order_id for order in page.orders] == expected
    if rare_filters:
        assert (len(expected), page.after) == (1, None)
    assert_few_rows_are_read(query)


BUSY: dict[str, Any] = {"client_id": "busy", "status": "filled"}
HALF = NOW + CROWD // 2 * SECOND / 1000


@pytest.mark.parametrize("oldest_first", [False, True], ids=["newest first", "oldest first"])
@pytest.mark.parametrize("names", [(), ("client_id",), ("status",), ("client_id", "status")], ids=str)
def test_a_page_in_the_middle_reads_few_rows(
    instruments: Any, names: Sequence[str], oldest_first: bool
) -> None:
    """A page in the middle of thousands, and a time range in the middle, cost as much as the first page."""
    for symbol in ("BTC-USD", "ETH-USD"):
        insert_orders(CROWD // 2, instrument_id=instruments[symbol].instrument_id, **BUSY)
    filters = {name: BUSY[name] for name in names}
    middle = sorted_ids(oldest_first=oldest_first)[CROWD // 2 :]
    row = Order.objects.get(pk=middle[0])
    deep = PageBounds(oldest_first=oldest_first, after=Position(row.created_at, row.order_id), limit=3)
    page = list_orders(query_of(filters, deep))
    assert [order.order_id for order in page.orders] == middle[1:4]
    assert_few_rows_are_read(query_of(filters, deep))

    times = TimeRange(NOW + SECOND, NOW + 2 * SECOND)
    within = sorted_ids(oldest_first=oldest_first, created_at__gte=times.start, created_at__lt=times.end)
    ranged = PageBounds(times, oldest_first, limit=3)
    page = list_orders(query_of(filters, ranged))
    assert [order.order_id for order in page.orders] == within[:3]
    assert_few_rows_are_read(query_of(filters, ranged))


def test_an_order_is_found_by_its_key_if_the_other_filters_match_it(instruments: Any) -> None:
    instrument = instruments["ETH-USD"].instrument_id
    other_instrument = instruments["BTC-USD"].instrument_id
    mine: dict[str, Any] = {"client_id": "alice", "status": "open"}
    order = stored_order(instrument, **mine, idempotency_key="key")
    Order.objects.bulk_create(
        [order, stored_order(instrument, client_id="bob", status="open", idempotency_key="k")]
    )
    insert_orders(CROWD, instrument_id=instrument, **mine)

    def found(key: str = "key", client_id: str = "alice", **filters: Any) -> list[str]:
        page = find_listed_order(key, OrderQuery(client_id, **filters))
        assert page.after is None
        return [document.order_id for document in page.orders]

    assert found() == [order.order_id]
    for filters in (
        {"instrument_id": instrument},
        {"statuses": ("open", "filled")},
        {"bounds": PageBounds(TimeRange(NOW, NOW + SECOND))},
        {"bounds": PageBounds(oldest_first=True, limit=1)},
    ):
        assert found(**filters) == [order.order_id]
    for filters in (
        {"key": "k"},
        {"key": "KEY"},
        {"client_id": "bob"},
        {"instrument_id": other_instrument},
        {"statuses": ("pending", "filled")},
        {"bounds": PageBounds(TimeRange(end=NOW))},
        {"bounds": PageBounds(TimeRange(start=NOW + SECOND))},
    ):
        assert found(**filters) == []


@pytest.mark.parametrize("status", ["open", "partially_filled", "pending"])
def test_a_snapshot_of_open_orders_has_no_other_orders(instruments: Any, status: str) -> None:
    instrument = instruments["ETH-USD"].instrument_id
    other = instruments["SOL-USD"].instrument_id
    mine = {"client_id": "alice", "instrument_id": instrument}
    Order.objects.bulk_create(
        [stored_order(**mine, status=status, created_at=NOW + number * SECOND) for number in (3, 1, 2, 1)]
    )
    expected = sorted_ids(oldest_first=True, **mine)
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
    takers = sorted_ids(client_id="taker")
    assert pages(limit=10, client_id="taker") == [takers]
    settings.PAGE_FILLS_MAX = 7
    assert pages(limit=10, client_id="taker") == [takers[:2], takers[2:]]
    settings.PAGE_FILLS_MAX = 1  # a page has at least one order, with all its fills
    assert pages(limit=10, client_id="taker") == [[order_id] for order_id in takers]
