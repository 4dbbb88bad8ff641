"""GET /trades on a large table: time ranges are found by binary search, and both orders have pages."""

import itertools
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from django.db import connection

from base.times import TimeRange, time_text
from marketdata import trade_pages
from marketdata.trade_pages import TradeQuery, list_trades
from orders.models import Trade
from tests.matching.partition import new_id
from tests.matching.test_fill_pages import insert_trades
from tests.matching.test_order_pages import ALL_TIMES, PLAN_MODES, count_rows_of

pytestmark = [pytest.mark.usefixtures("instruments"), pytest.mark.plans]

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def stored_trade(instrument_id: int, sequence: int, timestamp: datetime) -> Trade:
    return Trade(
        trade_id=new_id(),
        instrument_id=instrument_id,
        sequence=sequence,
        price=1,
        quantity=1,
        taker_side="buy",
        maker_order_id=new_id(),
        taker_order_id=new_id(),
        maker_client_id="alice",
        taker_client_id="bob",
        timestamp=timestamp,
    )


def listed(
    instrument_id: int, *, limit: int = 1000, times: TimeRange = ALL_TIMES, oldest_first: bool = False
) -> list[int]:
    """Return the sequences on all pages. Fail if a page before the last one is not full."""
    sequences: list[int] = []
    after: int | None = None
    while True:
        query = TradeQuery(instrument_id, "BTC-USD", times, oldest_first, after, limit)
        page = list_trades(query)
        for trade in page:
            assert times.start is None or time_text(times.start) <= trade.timestamp
            assert times.end is None or trade.timestamp < time_text(times.end)
        sequences += [trade.sequence for trade in page]
        if len(page) < limit:
            return sequences
        after = page[-1].sequence


def expected(instrument_id: int, times: TimeRange) -> list[int]:
    filters = {"timestamp__gte": times.start, "timestamp__lt": times.end}
    given = {name: value for name, value in filters.items() if value is not None}
    trades = Trade.objects.filter(instrument_id=instrument_id, **given).order_by("sequence")
    return list(trades.values_list("sequence", flat=True))


def assert_listed(instrument_id: int, times: TimeRange, limit: int) -> None:
    found = expected(instrument_id, times)
    assert listed(instrument_id, times=times, limit=limit, oldest_first=True) == found, times
    assert listed(instrument_id, times=times, limit=limit) == found[::-1], times


@pytest.mark.parametrize("count", [0, 1, 2, 20, pytest.param(200, marks=pytest.mark.long)])
def test_any_time_range_has_exactly_its_trades(instruments: Any, count: int) -> None:
    """Sequences have gaps, several trades share a time, and times may go back by a second at most."""
    ids = [instruments[symbol].instrument_id for symbol in ("BTC-USD", "ETH-USD")]
    random = Random(count)
    trades = []
    for instrument_id in ids:
        sequence, time = 0, NOW
        for _ in range(count):
            sequence += random.choice((1, 1, 5, 900))
            time += random.choice((0, 0, 0.001, 0.3, 20)) * SECOND
            trades.append(
                stored_trade(instrument_id, sequence, time - random.choice((0, 0, 0, 0.9)) * SECOND)
            )
    Trade.objects.bulk_create(trades)
    moments = sorted({trade.timestamp for trade in trades}) or [NOW]
    bounds = [None, *random.choices(moments, k=4), moments[0], moments[-1], moments[-1] + SECOND / 1000]
    bounds += [NOW - 3600 * SECOND, NOW + 10**6 * SECOND]
    bounds += [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)]
    for start, end in itertools.product(bounds, bounds):
        if start is None or end is None or start < end:
            assert_listed(ids[0], TimeRange(start, end), random.choice((1, 7, 1000)) if count < 100 else 150)


def test_if_a_clock_was_set_back_a_time_range_still_has_no_other_trades(instruments: Any) -> None:
    """The worker logs this. A list without a time range has all trades."""
    instrument_id = instruments["BTC-USD"].instrument_id
    times = [NOW + number * SECOND for number in (*range(100), *range(50, 150))]
    Trade.objects.bulk_create(
        stored_trade(instrument_id, number, time) for number, time in enumerate(times, 1)
    )
    assert listed(instrument_id, limit=30) == list(range(200, 0, -1))
    for start, end in itertools.combinations([NOW + number * SECOND for number in range(-10, 170, 9)], 2):
        found = listed(instrument_id, times=TimeRange(start, end))
        wanted = expected(instrument_id, TimeRange(start, end))
        assert set(found) <= set(wanted)
        assert sorted(found, reverse=True) == found


CROWD = 20_000


@pytest.mark.parametrize("oldest_first", [False, True], ids=["newest first", "oldest first"])
def test_a_page_of_a_time_range_reads_few_rows(instruments: Any, oldest_first: bool) -> None:
    btc, eth = (instruments[symbol].instrument_id for symbol in ("BTC-USD", "ETH-USD"))
    # Ten trades a second, so that the margin of a second has few of them.
    for instrument_id in (btc, eth):
        insert_trades(CROWD, instrument_id)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE orders_trade SET timestamp = %s + sequence * interval '0.1 s'", [NOW])
    times = TimeRange(NOW + 1000 * SECOND, NOW + 1001 * SECOND)
    page = list_trades(TradeQuery(btc, "BTC-USD", times, oldest_first, None, 3))
    first, step = (10_000, 1) if oldest_first else (10_009, -1)
    assert [trade.sequence for trade in page] == [first, first + step, first + 2 * step]
    search = {"instrument": btc, "time": times.start}
    for analyze in (False, True):
        if analyze:
            with connection.cursor() as cursor:
                cursor.execute("ANALYZE orders_trade")
        for mode in PLAN_MODES:
            types = {"instrument": "bigint", "time": "timestamptz"}
            rows = count_rows_of(trade_pages._SEARCH_SQL, search, types, "orders_trade", mode)
            assert rows < 50, (analyze, mode)


def test_the_newest_page_reads_no_more_rows_than_it_has(instruments: Any) -> None:
    instrument_id = instruments["BTC-USD"].instrument_id
    insert_trades(CROWD, instrument_id)
    values = {
        "instrument": instrument_id,
        "above": -1,
        "below": 2**63 - 1,
        "start": None,
        "end": None,
        "limit": 50,
    }
    types = dict.fromkeys(values, "bigint") | {"start": "timestamptz", "end": "timestamptz"}
    for direction in ("ASC", "DESC"):
        sql = trade_pages._TRADES_SQL.format(direction=direction)
        assert count_rows_of(sql, values, types, "orders_trade", "force_custom_plan") == 50
