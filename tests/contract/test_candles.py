"""Candles over REST."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.contract.client import Client
from tests.contract.market import Market
from tests.contract.stream import make_trade

CANDLE_FIELDS = {"time", "open", "high", "low", "close", "volume", "trade_count", "closed"}
_CANDLE_SQL = """
INSERT INTO marketdata_candle (instrument_id, time, open, high, low, close, volume, notional, trade_count)
SELECT id, %s, %s, %s, %s, %s, %s, 1, %s FROM instruments_instrument WHERE symbol = %s
"""


def test_trades_make_the_candle_of_this_minute(client: Client, instrument: str) -> None:
    for price, quantity in (("100.5", "1"), ("104", "0.5"), ("98", "0.25"), ("102.25", "0.25")):
        make_trade(client, instrument, price, quantity)
    answer = client.get("/candles", instrument=instrument)
    assert answer.json["next_cursor"] is None
    candles = answer.json["candles"]
    for candle in candles:
        assert candle.keys() == CANDLE_FIELDS
        assert re.fullmatch(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:00\.000Z", candle["time"])
    assert candles[0]["open"] == Decimal("100.5")  # a new minute may have begun between the trades
    assert candles[-1]["close"] == Decimal("102.25")
    assert max(candle["high"] for candle in candles) == 104
    assert min(candle["low"] for candle in candles) == 98
    assert sum(candle["volume"] for candle in candles) == 2
    assert sum(candle["trade_count"] for candle in candles) == 4
    assert client.get("/candles", instrument=instrument, interval="1d").json["candles"]


@pytest.fixture
def day_of_candles(market: Market, instrument: str) -> str:
    """An instrument with candles at some minutes of 2026-01-02."""
    for hour, minute, prices, volume, count in (
        (0, 0, (10, 12, 9, 11), 1, 2),
        (0, 1, (11, 15, 11, 14), 2, 3),
        (0, 4, (14, 14, 8, 8), "0.5", 1),
        (0, 5, (8, 9, 7, 9), 1, 1),
        (4, 30, (20, 21, 19, 20), 1, 1),
        (23, 59, (30, 30, 30, 30), 1, 1),
    ):
        moment = datetime(2026, 1, 2, hour, minute, tzinfo=UTC)
        market.database.execute(_CANDLE_SQL, (moment, *prices, volume, count, instrument))
    return instrument


def candles(client: Client, instrument: str, **query: object) -> list[tuple[Any, ...]]:
    """Return each candle as its hour and minute, prices, volume and number of trades."""
    page = client.get("/candles", instrument=instrument, **query).json
    return [
        (candle["time"][11:16], *(candle[name] for name in ("open", "high", "low", "close", "volume")),
         candle["trade_count"])
        for candle in page["candles"]
    ]  # fmt: skip


def test_candles_are_listed_oldest_first(client: Client, day_of_candles: str) -> None:
    rows = candles(client, day_of_candles, interval="1m")
    assert [row[0] for row in rows] == ["00:00", "00:01", "00:04", "00:05", "04:30", "23:59"]
    assert rows[0] == ("00:00", 10, 12, 9, 11, 1, 2)


def test_longer_candles_are_made_of_minutes(client: Client, day_of_candles: str) -> None:
    five = candles(client, day_of_candles, interval="5m")
    assert five[0] == ("00:00", 10, 15, 8, 8, Decimal("3.5"), 6)
    assert [row[0] for row in five] == ["00:00", "00:05", "04:30", "23:55"]
    fifteen = candles(client, day_of_candles, interval="15m")
    assert fifteen[0] == ("00:00", 10, 15, 7, 9, Decimal("4.5"), 7)
    assert [row[0] for row in candles(client, day_of_candles, interval="1h")] == ["00:00", "04:00", "23:00"]
    assert [row[0] for row in candles(client, day_of_candles, interval="4h")] == ["00:00", "04:00", "20:00"]
    assert candles(client, day_of_candles, interval="1d") == [("00:00", 10, 30, 7, 30, Decimal("6.5"), 9)]


def test_start_and_end_select_the_candles_that_begin_between_them(
    client: Client, day_of_candles: str
) -> None:
    def times(**query: object) -> list[str]:
        return [row[0] for row in candles(client, day_of_candles, **query)]

    assert times(start="2026-01-02T00:01:00Z", end="2026-01-02T00:05:00Z") == ["00:01", "00:04"]
    assert times(start="2026-01-02T00:00:30Z", end="2026-01-02T00:04:30Z") == ["00:01", "00:04"]
    assert times(start="2026-01-02T05:00:00+01:00") == ["04:30", "23:59"]
    assert times(end="2026-01-02T00:01:00") == ["00:00"]
    assert times(start="2026-01-03") == []
    # A candle that begins before the span is left out. One that ends after the span is whole.
    assert candles(client, day_of_candles, interval="5m", start="2026-01-02T00:01:00Z")[0][0] == "00:05"
    assert candles(client, day_of_candles, interval="5m", end="2026-01-02T00:01:00Z")[0][5] == Decimal("3.5")


def test_the_limit_keeps_the_newest_candles(client: Client, day_of_candles: str) -> None:
    def times(**query: object) -> list[str]:
        return [row[0] for row in candles(client, day_of_candles, **query)]

    assert times(limit=2) == ["04:30", "23:59"]
    assert times(limit=1, interval="5m", end="2026-01-02T00:10:00Z") == ["00:05"]
    rows = candles(client, day_of_candles, limit=1, interval="5m", end="2026-01-02T00:05:00Z")
    assert rows == [("00:00", 10, 15, 8, 8, Decimal("3.5"), 6)]


def test_a_start_without_an_end_gives_the_first_candles_after_it(client: Client, day_of_candles: str) -> None:
    def times(**query: object) -> list[str]:
        return [row[0] for row in candles(client, day_of_candles, **query)]

    assert times(start="2026-01-01", limit=2) == ["00:00", "00:01"]
    assert times(start="2026-01-02T00:00:30Z", limit=3) == ["00:01", "00:04", "00:05"]
    assert times(start="2026-01-02T00:00:30Z", end="2026-01-03", limit=3) == ["00:05", "04:30", "23:59"]
    assert times(start="0001-01-01", interval="1h", limit=2) == ["00:00", "04:00"]
    assert times(start="9999-12-31T23:59:59Z") == []
    first = candles(client, day_of_candles, start="2026-01-01", interval="5m", limit=1)
    # The limit counts candles. It does not cut the minutes that this candle is made of.
    assert first == [("00:00", 10, 15, 8, 8, Decimal("3.5"), 6)]
    paged: list[str] = []
    start = "2026-01-01T00:00:00Z"
    while page := client.get("/candles", instrument=day_of_candles, start=start, limit=2).json["candles"]:
        paged += [candle["time"][11:16] for candle in page]
        last = datetime.fromisoformat(page[-1]["time"])
        start = (last + timedelta(minutes=1)).isoformat().replace("+00:00", "Z")
    assert paged == times()


def test_a_candle_is_closed_once_its_interval_is_over(
    client: Client, market: Market, day_of_candles: str
) -> None:
    make_trade(client, day_of_candles, 10, 1)
    # A worker whose clock is ahead could make this candle.
    tomorrow = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(days=1)
    market.database.execute(_CANDLE_SQL, (tomorrow, 10, 12, 9, 11, 1, 2, day_of_candles))
    for interval in ("1m", "1h", "1d"):
        for fill in ("false", "true"):
            asked_at = datetime.now(UTC)
            page = client.get("/candles", instrument=day_of_candles, interval=interval, fill=fill).json
            shown_at = datetime.now(UTC)
            length = {"1m": timedelta(minutes=1), "1h": timedelta(hours=1), "1d": timedelta(days=1)}[interval]
            for candle in page["candles"]:
                over = datetime.fromisoformat(candle["time"]) + length
                if not asked_at < over <= shown_at:  # otherwise it may be shown as open or closed
                    assert candle["closed"] is (over <= asked_at), (candle, fill)
        assert {candle["closed"] for candle in page["candles"]} == {True, False}


def test_intervals_without_a_trade_are_filled_on_request(client: Client, day_of_candles: str) -> None:
    def filled(**query: object) -> list[Any]:
        return candles(client, day_of_candles, fill="true", **query)

    assert filled(end="2026-01-02T00:05:00Z") == [
        ("00:00", 10, 12, 9, 11, 1, 2),
        ("00:01", 11, 15, 11, 14, 2, 3),
        ("00:02", 14, 14, 14, 14, 0, 0),
        ("00:03", 14, 14, 14, 14, 0, 0),
        ("00:04", 14, 14, 8, 8, Decimal("0.5"), 1),
    ]
    assert filled(start="2026-01-02T00:02:30Z", end="2026-01-02T00:04:00Z") == [
        ("00:03", 14, 14, 14, 14, 0, 0)
    ]
    assert filled(limit=2, interval="1h", end="2026-01-02T04:00:00Z") == [
        ("02:00", 9, 9, 9, 9, 0, 0),
        ("03:00", 9, 9, 9, 9, 0, 0),
    ]
    assert filled(end="2026-01-02T00:00:00Z") == filled(end="0001-01-01T00:00:01Z") == []
    assert filled(start="9999-01-01") == []
    assert len(filled()) == 500
    assert [row[0] for row in filled(start="2026-01-02T00:02:00Z", limit=2)] == ["00:02", "00:03"]
    assert [row[0] for row in filled(start="2025-12-01", limit=2)] == ["00:00", "00:01"]
    assert filled(start="2026-01-02T00:02:30Z", interval="1h", limit=1) == [("01:00", 9, 9, 9, 9, 0, 0)]
    assert client.get("/candles", instrument=day_of_candles, fill="yes").status == 400
