"""Market data over REST: books, trades, statistics, candles and instruments."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from tests.contract.client import TIME, Client
from tests.contract.market import Market

CANDLE_FIELDS = {"time", "open", "high", "low", "close", "volume", "trade_count", "closed"}
_CANDLE_SQL = """
INSERT INTO marketdata_candle (instrument_id, time, open, high, low, close, volume, notional, trade_count)
SELECT id, %s, %s, %s, %s, %s, %s, 1, %s FROM instruments_instrument WHERE symbol = %s
"""


def make_trade(client: Client, instrument: str, price: object, quantity: object, side: str = "buy") -> Any:
    """Make a trade whose taker is on that side, and return the taker's order."""
    client.place(instrument, "sell" if side == "buy" else "buy", quantity, price)
    taker = client.place(instrument, side, quantity, price)
    assert taker["status"] == "filled"
    return taker


def test_the_book_adds_up_the_orders_of_each_price_level(client: Client, instrument: str) -> None:
    for price, quantity in ((100, 1), ("99.5", 2), (100, "0.5"), ("99.99", "0.25")):
        client.place(instrument, "buy", quantity, price)
    for price, quantity in ((102, 1), (101, 2), (101, 3), ("101.01", 4)):
        client.place(instrument, "sell", quantity, price)
    book = client.book(instrument)
    assert book.keys() == {"instrument", "sequence", "bids", "asks", "timestamp"}
    assert (book["instrument"], book["sequence"]) == (instrument, 8)
    assert TIME.fullmatch(book["timestamp"])
    assert book["bids"] == [
        {"price": 100, "quantity": Decimal("1.5"), "orders": 2, "cumulative": Decimal("1.5")},
        {"price": Decimal("99.99"), "quantity": Decimal("0.25"), "orders": 1, "cumulative": Decimal("1.75")},
        {"price": Decimal("99.5"), "quantity": 2, "orders": 1, "cumulative": Decimal("3.75")},
    ]
    assert [(level["price"], level["quantity"], level["cumulative"]) for level in book["asks"]] == [
        (101, 5, 5),
        (Decimal("101.01"), 4, 9),
        (102, 1, 10),
    ]


def test_the_book_is_cut_to_the_best_levels(client: Client, instrument: str) -> None:
    for number in range(25):
        client.place(instrument, "buy", 1, 100 + number)
        client.place(instrument, "sell", 1, 200 + number)
    book = client.get("/orderbook", instrument=instrument).json
    assert [level["price"] for level in book["bids"]] == list(range(124, 104, -1))
    assert [level["price"] for level in book["asks"]] == list(range(200, 220))
    book = client.book(instrument, levels=2)
    assert [level["price"] for level in book["bids"]] == [124, 123]
    assert [level["price"] for level in book["asks"]] == [200, 201]
    assert len(client.book(instrument, levels=1)["asks"]) == 1
    assert len(client.book(instrument, levels=1000)["asks"]) == 25


def test_the_sequence_counts_every_change(client: Client, instrument: str) -> None:
    def sequence() -> Any:
        return client.book(instrument)["sequence"]

    assert sequence() == 0
    order = client.place(instrument, "buy", 2, 10)
    assert sequence() == 1
    client.place(instrument, "sell", 1, 10)
    assert sequence() == 2
    client.cancel(order["order_id"])
    assert sequence() == 3
    client.place(instrument, "sell", 1)
    assert sequence() == 3


def test_btc_usd_is_the_default_and_unknown_instruments_are_not_found(client: Client) -> None:
    for path in ("/orderbook", "/trades/stats"):
        assert client.get(path).json["instrument"] == "BTC-USD"
    for path in ("/orderbook", "/trades", "/trades/stats", "/candles", "/orders"):
        client.get(path, instrument="NO-USD").error(404, "instrument_not_found")


def test_trades_are_listed_newest_first(client: Client, instrument: str) -> None:
    takers = [
        make_trade(client, instrument, "100.5", "0.1"),
        make_trade(client, instrument, "100.25", "0.2", side="sell"),
    ]
    answer = client.get("/trades", instrument=instrument)
    assert answer.number("price") == "100.25"
    assert answer.number("quantity") == "0.2"
    page = answer.json
    assert page.keys() == {"trades", "next_cursor"}
    assert page["next_cursor"] is None
    newest, oldest = page["trades"]
    assert newest == {
        "trade_id": takers[1]["trades"][0]["trade_id"],
        "instrument": instrument,
        "sequence": 4,
        "price": Decimal("100.25"),
        "quantity": Decimal("0.2"),
        "side": "sell",
        "timestamp": takers[1]["trades"][0]["timestamp"],
    }
    assert UUID(oldest["trade_id"]).version == 7
    assert (oldest["sequence"], oldest["side"]) == (2, "buy")


def test_pages_of_trades_do_not_move_while_new_trades_arrive(client: Client, instrument: str) -> None:
    for price in range(1, 8):
        client.place(instrument, "sell", 1, price)
    client.place(instrument, "buy", 7)
    for limit in (1, 3, 7):
        prices: list[int] = []
        query: dict[str, Any] = {"instrument": instrument, "limit": limit}
        while True:
            page = client.get("/trades", **query).json
            prices += [trade["price"] for trade in page["trades"]]
            if page["next_cursor"] is None:
                break
            assert len(page["trades"]) == limit
            query["cursor"] = page["next_cursor"]
            client.place(instrument, "sell", 1, 1000)
            client.place(instrument, "buy", 1, 1000)
        assert prices[-7:] == [7, 6, 5, 4, 3, 2, 1]
        assert len(prices) == len(prices[-7:]) + prices.count(1000)


def test_statistics_are_computed_from_the_trades_of_the_window(client: Client, instrument: str) -> None:
    for price, quantity in (("100", "1"), ("104", "0.5"), ("98", "0.25"), ("102", "0.25")):
        make_trade(client, instrument, price, quantity)
    answer = client.get("/trades/stats", instrument=instrument)
    assert answer.json == {
        "instrument": instrument,
        "window": "24h",
        "trade_count": 4,
        "volume": 2,
        "notional": 202,
        "vwap": 101,
        "open": 100,
        "high": 104,
        "low": 98,
        "last": 102,
        "change": 2,
        "change_percent": 2,
    }
    assert (answer.number("vwap"), answer.number("volume")) == ("101", "2")
    for window in ("1m", "1h", "720h", "30d", "43200m"):
        stats = client.get("/trades/stats", instrument=instrument, window=window).json
        assert (stats["window"], stats["trade_count"]) == (window, 4)


def test_statistics_leave_out_trades_before_the_window(
    client: Client, market: Market, instrument: str
) -> None:
    make_trade(client, instrument, 100, 1)
    two_hours_ago = datetime.now(UTC) - timedelta(hours=2)
    market.database.execute(
        "UPDATE marketdata_candle SET time = date_trunc('minute', %s::timestamptz) WHERE instrument_id = "
        "(SELECT id FROM instruments_instrument WHERE symbol = %s)",
        (two_hours_ago, instrument),
    )
    make_trade(client, instrument, 50, 1)
    stats = client.get("/trades/stats", instrument=instrument, window="1h").json
    assert (stats["trade_count"], stats["open"], stats["high"], stats["change"]) == (1, 50, 50, 0)
    stats = client.get("/trades/stats", instrument=instrument, window="3h").json
    assert (stats["trade_count"], stats["open"], stats["change"], stats["change_percent"]) == (
        2,
        100,
        -50,
        -50,
    )


def test_statistics_without_a_trade_are_zero_or_null(client: Client, instrument: str) -> None:
    stats = client.get("/trades/stats", instrument=instrument).json
    assert (stats["trade_count"], stats["volume"], stats["notional"]) == (0, 0, 0)
    for name in ("vwap", "open", "high", "low", "last", "change", "change_percent"):
        assert stats[name] is None


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
            page = client.get("/candles", instrument=day_of_candles, interval=interval, fill=fill).json
            shown_at = datetime.now(UTC)
            length = {"1m": timedelta(minutes=1), "1h": timedelta(hours=1), "1d": timedelta(days=1)}[interval]
            for candle in page["candles"]:
                over = datetime.fromisoformat(candle["time"]) + length
                if not over - timedelta(seconds=10) < shown_at < over + timedelta(seconds=10):
                    assert candle["closed"] is (over <= shown_at), (candle, fill)
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


def test_instruments_are_listed_by_symbol_with_their_grid_and_bounds(client: Client, market: Market) -> None:
    page = client.get("/instruments").json
    assert page["next_cursor"] is None
    rows = {row["symbol"]: row for row in page["instruments"]}
    assert list(rows) == sorted(rows)
    assert {"BTC-USD", "ETH-USD", "SOL-USD"} <= set(rows)
    assert rows["BTC-USD"] == {
        "symbol": "BTC-USD",
        "base_asset": "BTC",
        "quote_asset": "USD",
        "tick_size": Decimal("0.01"),
        "lot_size": Decimal("0.00000001"),
        "min_quantity": Decimal("0.00000001"),
        "max_quantity": 10000,
        "min_price": Decimal("0.01"),
        "max_price": 10000000,
        "min_notional": None,
        "open_orders_max": 10000,
        "order_types": ["limit", "market", "stop", "take_profit", "stop_limit", "take_profit_limit"],
        "times_in_force": ["gtc", "ioc", "fok", "gtd"],
        "self_trade_prevention": "none",
        "status": "active",
    }
    assert '"lot_size":0.00000001,' in client.get("/instruments").text
