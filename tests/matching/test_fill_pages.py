"""GET /fills on a large table: all fills of a client or an order, by time, with few other rows read."""

import itertools
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from pytest_django.fixtures import Settings

from base.times import TimeRange, time_text
from orders.documents import ListedFillDocument
from orders.fill_pages import FillQuery, fill_page_parameters, fill_page_sql, list_fills
from orders.models import Order, Trade
from orders.time_lists import PageBounds, Position, parse_position
from tests.matching.partition import Partition, new_id, place
from tests.matching.test_order_pages import ALL_TIMES, PLAN_MODES, count_rows_of

pytestmark = [pytest.mark.usefixtures("instruments"), pytest.mark.plans]

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
SECOND, MILLISECOND = timedelta(seconds=1), timedelta(milliseconds=1)
CLIENTS = ("alice", "bob", "carol")


def pages(
    *, limit: int = 3, times: TimeRange = ALL_TIMES, oldest_first: bool = False, **filters: Any
) -> list[list[ListedFillDocument]]:
    """Return the fills on each page. Positions are passed on as text, as in cursors."""
    found: list[list[ListedFillDocument]] = []
    after: Position | None = None
    while True:
        page = list_fills(FillQuery(**filters, bounds=PageBounds(times, oldest_first, after, limit)))
        assert page is not None
        found.append(page.fills)
        if page.after is None:
            return found
        after = parse_position(str(page.after))


def expected_fills(
    *,
    client_id: str | None = None,
    order_id: str | None = None,
    instrument_id: int | None = None,
    times: TimeRange = ALL_TIMES,
) -> list[dict[str, Any]]:
    """Return the fills that the stored trades and orders are, oldest first."""
    keys = dict(Order.objects.values_list("order_id", "idempotency_key"))
    fills = []
    for trade in Trade.objects.select_related("instrument").order_by("timestamp", "trade_id"):
        for role in ("maker", "taker"):
            order, client = getattr(trade, f"{role}_order_id"), getattr(trade, f"{role}_client_id")
            if (
                client_id in (None, client)
                and order_id in (None, str(order))
                and instrument_id in (None, trade.instrument_id)
                and (times.start is None or times.start <= trade.timestamp)
                and (times.end is None or trade.timestamp < times.end)
            ):
                own_side = {"buy": "sell", "sell": "buy"}[trade.taker_side]
                fills.append(
                    {
                        "trade_id": str(trade.trade_id),
                        "order_id": str(order),
                        "idempotency_key": keys.get(order),
                        "instrument": trade.instrument.symbol,
                        "price": trade.price,
                        "quantity": trade.quantity,
                        "side": trade.taker_side if role == "taker" else own_side,
                        "liquidity": role,
                        "sequence": trade.sequence,
                        "timestamp": time_text(trade.timestamp),
                    }
                )
    return fills


def fields(fill: ListedFillDocument) -> dict[str, Any]:
    found = {name: getattr(fill, name) for name in ListedFillDocument.__struct_fields__}
    return found | {name: Decimal(bytes(found[name]).decode()) for name in ("price", "quantity")}


@pytest.fixture
def traded(instruments: Any) -> None:
    """Trade in batches of several sizes. Clients meet themselves, too, and some times repeat."""
    random = Random(5)
    partition = Partition()
    for number in range(25):
        commands = [
            place(
                random.choice(("buy", "sell")),
                random.choice((99, 100, 101)),
                random.randint(1, 4),
                client_id=random.choice(CLIENTS),
                instrument=random.choice(("BTC-USD", "BTC-USD", "ETH-USD")),
                idempotency_key=random.choice((None, f"key-{number}-{place_in_batch}")),
            )
            for place_in_batch in range(random.choice((1, 3, 12)))
        ]
        partition.run(*commands, now=NOW + random.choice((0, number, number)) * SECOND)


TIME_RANGES = [
    ALL_TIMES,
    TimeRange(start=NOW + 10 * SECOND),
    TimeRange(end=NOW + 10 * SECOND),
    TimeRange(NOW + 5 * SECOND, NOW + 15 * SECOND),
    TimeRange(NOW, NOW + MILLISECOND),
    TimeRange(start=NOW + 60 * SECOND),
]


@pytest.mark.usefixtures("traded")
@pytest.mark.parametrize(
    ("merged_max", "share"),
    [
        (50_000, 3),
        (1, 3),
        *(pytest.param(merged_max, 1, marks=pytest.mark.long) for merged_max in (50_000, 8, 1)),
    ],
)
def test_combinations_of_filters_find_all_fills(
    settings: Settings, instruments: Any, merged_max: int, share: int
) -> None:
    """One of `share` combinations is tried."""
    settings.PAGE_ROWS_MERGED_MAX = merged_max
    random = Random(merged_max)
    fills = expected_fills()
    assert {fill["instrument"] for fill in fills} == {"BTC-USD", "ETH-USD"}
    assert len({fill["timestamp"] for fill in fills}) < len(fills) / 4
    busiest = max(fills, key=lambda fill: sum(fill["order_id"] == other["order_id"] for other in fills))
    queries: list[dict[str, Any]] = [{"client_id": client_id} for client_id in (*CLIENTS, "nobody")]
    queries += [{"order_id": fill["order_id"]} for fill in (busiest, fills[0], fills[-1])]
    symbols = (None, "BTC-USD", "ETH-USD", "SOL-USD")
    combinations = list(itertools.product(queries, symbols, TIME_RANGES))
    for query, symbol, times in random.sample(combinations, len(combinations) // share):
        filters = {**query, "instrument_id": symbol and instruments[symbol].instrument_id}
        expected = expected_fills(**filters, times=times)
        limit = random.choice((1, 2, 7, 1000))
        for oldest_first in (True, False):
            found = pages(limit=limit, times=times, oldest_first=oldest_first, **filters)
            listed = [fields(fill) for page in found for fill in page]
            assert listed == (expected if oldest_first else expected[::-1]), (filters, times, limit)
            assert all(found[:-1]), "an empty page before the last one"


def test_a_trade_of_a_client_with_itself_is_two_fills() -> None:
    partition = Partition()
    resting = place("sell", 100, 5, client_id="alice")
    taker = place("buy", 100, 3, client_id="alice", idempotency_key="mine")
    partition.run(resting, taker, now=NOW)
    for limit in (1, 2, 3):
        [first, second] = [
            fields(fill) for page in pages(client_id="alice", limit=limit, oldest_first=True) for fill in page
        ]
        assert first["trade_id"] == second["trade_id"]
        assert (first["order_id"], first["side"], first["liquidity"]) == (resting.order_id, "sell", "maker")
        assert (second["order_id"], second["side"], second["liquidity"]) == (taker.order_id, "buy", "taker")
        assert (first["idempotency_key"], second["idempotency_key"]) == (None, "mine")
    [[only]] = pages(order_id=taker.order_id)
    assert only.liquidity == "taker"
    assert pages(order_id=resting.order_id, client_id="alice") == [pages(client_id="alice")[0][1:]]


def test_an_order_must_exist_and_be_the_clients() -> None:
    partition = Partition()
    mine, unfilled = place("sell", 100, 1, client_id="alice"), place("buy", 1, 1, client_id="alice")
    partition.run(mine, unfilled, place("buy", 100, 1, client_id="bob"))
    for order_id, client_id in ((mine.order_id, "bob"), (new_id(), None), (new_id(), "alice")):
        assert list_fills(FillQuery(client_id=client_id, order_id=order_id)) is None
    [[fill]] = pages(order_id=mine.order_id, client_id="alice")
    assert fill.order_id == mine.order_id
    assert pages(order_id=unfilled.order_id) == [[]]


def test_a_fill_outlives_its_order() -> None:
    """Orders may be pruned before their trades."""
    partition = Partition()
    maker = place("sell", 100, 1, client_id="alice", idempotency_key="key")
    partition.run(maker, place("buy", 100, 1, client_id="bob"), now=NOW)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM orders_order WHERE order_id = %s", [maker.order_id])
    [[fill]] = pages(client_id="alice")
    assert (fill.order_id, fill.idempotency_key) == (maker.order_id, None)


_INSERT_SQL = """
INSERT INTO orders_trade (trade_id, instrument_id, sequence, price, quantity, taker_side, maker_order_id,
  taker_order_id, maker_client_id, taker_client_id, timestamp)
SELECT (lpad(to_hex(number), 12, '0') || lpad(to_hex(%(instrument_id)s::bigint), 20, '0'))::uuid,
  %(instrument_id)s, number, 1, 1, 'buy', %(maker_order)s, %(taker_order)s, %(maker_client)s, %(taker_client)s,
  %(from)s + (number - 1) / %(at_once)s * interval '1 ms'
FROM generate_series(%(first)s::bigint, %(first)s + %(count)s - 1) AS number
"""
OTHER_ORDER, BUSY_ORDER = UUID(int=1), UUID(int=2)


def insert_trades(
    count: int, instrument_id: int, *, first: int = 1, at_once: int = 1, **parties: Any
) -> None:
    """Insert trades: `at_once` of them in each millisecond."""
    terms: dict[str, Any] = {"maker_order": OTHER_ORDER, "taker_order": UUID(int=3), "from": NOW}
    terms |= {"maker_client": "crowd", "taker_client": "crowd"} | parties
    terms |= {"count": count, "instrument_id": instrument_id, "first": first, "at_once": at_once}
    with connection.cursor() as cursor:
        cursor.execute(_INSERT_SQL, terms)


PARAMETERS = {
    "client": "varchar",
    "order": "uuid",
    "instrument": "bigint",
    "begin": "timestamptz",
    "begin_key": "uuid",
    "begin_role": "text",
    "last": "timestamptz",
    "rows": "bigint",
    "merged_max": "bigint",
}
CROWD = 5_000
ROWS_READ_MAX = 150  # for a page of 3


def assert_few_rows_are_read(query: FillQuery) -> None:
    """PostgreSQL has the empty table's statistics at first, and then those of the full table."""
    sql, values = fill_page_sql(query), fill_page_parameters(query)
    for analyze in (False, True):
        if analyze:
            with connection.cursor() as cursor:
                cursor.execute("ANALYZE orders_trade")
        for mode in PLAN_MODES:
            rows = count_rows_of(sql, values, PARAMETERS, "orders_trade", mode)
            assert rows < ROWS_READ_MAX, (query, analyze, mode)


@pytest.mark.parametrize("oldest_first", [False, True], ids=["newest first", "oldest first"])
@pytest.mark.parametrize("role", ["maker", "taker"])
def test_a_page_reads_few_rows_wherever_it_is(instruments: Any, role: str, oldest_first: bool) -> None:
    """A rare fill among others, a page in the middle, and a time range in the middle."""
    btc, eth, sol = (instruments[symbol].instrument_id for symbol in ("BTC-USD", "ETH-USD", "SOL-USD"))
    busy: dict[str, Any] = {f"{role}_client": "busy", f"{role}_order": BUSY_ORDER}
    insert_trades(CROWD, btc, **busy)
    insert_trades(CROWD, eth)
    insert_trades(1, sol, **busy)
    rare: dict[str, Any] = {f"{role}_client": "rare"}
    insert_trades(1, btc, first=CROWD + 1, **rare)
    Order.objects.create(
        order_id=BUSY_ORDER,
        client_id="busy",
        instrument_id=btc,
        side="buy",
        type="limit",
        price=1,
        quantity=CROWD,
        status="filled",
        filled_quantity=CROWD,
        filled_notional=CROWD,
        sequence=CROWD,
        created_at=NOW,
        updated_at=NOW,
    )
    middle = Trade.objects.get(instrument=btc, sequence=CROWD // 2)
    deep = PageBounds(
        oldest_first=oldest_first, after=Position(middle.timestamp, middle.trade_id, role), limit=3
    )
    times = TimeRange(NOW + SECOND, NOW + 2 * SECOND)
    ranged = PageBounds(times, oldest_first, limit=3)
    step = 1 if oldest_first else -1
    for filters in (
        {"client_id": "busy"},
        {"client_id": "busy", "instrument_id": btc},
        {"order_id": str(BUSY_ORDER)},
    ):
        for bounds, first in ((deep, CROWD // 2 + step), (ranged, 1001 if oldest_first else 2000)):
            query = FillQuery(**filters, bounds=bounds)
            page = list_fills(query)
            assert page is not None
            assert [fill.sequence for fill in page.fills] == [first, first + step, first + 2 * step]
            assert {fill.liquidity for fill in page.fills} == {role}
            assert_few_rows_are_read(query)
    query = FillQuery(client_id="rare", bounds=PageBounds(oldest_first=oldest_first, limit=3))
    page = list_fills(query)
    assert page is not None
    assert [fill.sequence for fill in page.fills] == [CROWD + 1]
    assert_few_rows_are_read(query)


def test_fills_of_one_moment_are_on_as_many_pages_as_they_need(instruments: Any) -> None:
    insert_trades(2_000, instruments["BTC-USD"].instrument_id, at_once=1_000, taker_client="alice")
    for limit in (300, 999, 1_000):
        for oldest_first in (False, True):
            found = pages(client_id="alice", limit=limit, oldest_first=oldest_first)
            sequences = [fill.sequence for page in found for fill in page]
            expected = range(1, 2_001)
            assert sequences == list(expected if oldest_first else reversed(expected))
