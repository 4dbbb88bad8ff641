"""Market data over REST: books, trades, statistics, tickers and instruments."""

import itertools
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from tests.contract.client import TIME, Client
from tests.contract.market import Market
from tests.contract.stream import make_trade
from tests.system.exchange import wait_until


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
    make_trade(client, instrument, "100.5", "0.1")
    _, taker = make_trade(client, instrument, "100.25", "0.2", side="sell")
    answer = client.get("/trades", instrument=instrument)
    assert answer.number("price") == "100.25"
    assert answer.number("quantity") == "0.2"
    page = answer.json
    assert page.keys() == {"trades", "next_cursor"}
    assert page["next_cursor"] is None
    newest, oldest = page["trades"]
    assert newest == {
        "trade_id": taker["trades"][0]["trade_id"],
        "instrument": instrument,
        "sequence": 4,
        "price": Decimal("100.25"),
        "quantity": Decimal("0.2"),
        "side": "sell",
        "timestamp": taker["trades"][0]["timestamp"],
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


def all_trades(client: Client, **query: Any) -> list[Any]:
    """Return the trades on all pages. Fail if a page before the last is not full."""
    trades: list[Any] = []
    cursor: dict[str, str] = {}
    while True:
        page = client.get("/trades", **query, **cursor).json
        trades += page["trades"]
        if page["next_cursor"] is None:
            return trades
        assert len(page["trades"]) == query["limit"]
        cursor = {"cursor": page["next_cursor"]}


def test_trades_of_a_time_range_are_listed_in_both_orders(
    client: Client, market: Market, instrument: str
) -> None:
    for price in range(1, 8):
        make_trade(client, instrument, price, 1)
    start = datetime(2026, 1, 31, 12, tzinfo=UTC)
    market.database.execute(
        "UPDATE orders_trade SET timestamp = %s + price / 2 * interval '1.3 s' WHERE instrument_id = "
        "(SELECT id FROM instruments_instrument WHERE symbol = %s)",
        (start, instrument),
    )
    everything = all_trades(client, instrument=instrument, sort="asc")
    assert [trade["price"] for trade in everything] == list(range(1, 8))
    assert all_trades(client, instrument=instrument, sort="desc") == everything[::-1]
    times = [trade["timestamp"] for trade in everything]
    bounds = [
        None,
        "2026-01-31T12:00:00.000Z",
        *times,
        "2026-01-31T12:00:02.000Z",
        "2027-01-31T00:00:00.000Z",
    ]
    for first, end in itertools.product(bounds, bounds):
        span = {name: value for name, value in (("start", first), ("end", end)) if value is not None}
        if len(span) == 2 and span["start"] >= span["end"]:
            assert client.get("/trades", instrument=instrument, **span).refused_fields() == {"start"}
            continue
        expected = [
            trade
            for trade in everything
            if (first is None or first <= trade["timestamp"]) and (end is None or trade["timestamp"] < end)
        ]
        for limit in (1, 3, 50):
            filters = {"instrument": instrument, "limit": limit, **span}
            assert all_trades(client, **filters, sort="asc") == expected
            assert all_trades(client, **filters) == expected[::-1]


def test_new_trades_follow_the_pages_of_the_oldest_first(client: Client, instrument: str) -> None:
    for price in (1, 2, 3):
        make_trade(client, instrument, price, 1)
    query: dict[str, Any] = {"instrument": instrument, "sort": "asc", "limit": 2}
    page = client.get("/trades", **query).json
    assert [trade["price"] for trade in page["trades"]] == [1, 2]
    make_trade(client, instrument, 4, 1)
    page = client.get("/trades", **query, cursor=page["next_cursor"]).json
    assert [trade["price"] for trade in page["trades"]] == [3, 4]
    assert page["next_cursor"] is None


def test_tickers_are_those_of_all_instruments_by_symbol(
    client: Client, market: Market, instrument: str
) -> None:
    untraded = market.fresh_instrument()
    make_trade(client, instrument, "100.5", "0.1")
    make_trade(client, instrument, "99.5", "0.3")
    client.place(instrument, "buy", "0.25", 90)
    client.place(instrument, "sell", "0.75", "110.25")
    page = client.get("/tickers").json
    assert page.keys() == {"tickers", "next_cursor"}
    assert page["next_cursor"] is None
    tickers = {ticker["instrument"]: ticker for ticker in page["tickers"]}
    assert (
        list(tickers)
        == sorted(tickers)
        == [row["symbol"] for row in client.get("/instruments").json["instruments"]]
    )
    assert tickers[instrument] | {"timestamp": None} == {
        "instrument": instrument,
        "sequence": 6,
        "bid": 90,
        "bid_quantity": Decimal("0.25"),
        "ask": Decimal("110.25"),
        "ask_quantity": Decimal("0.75"),
        "trade_count": 2,
        "volume": Decimal("0.4"),
        "notional": Decimal("39.9"),
        "vwap": Decimal("99.75"),
        "open": Decimal("100.5"),
        "high": Decimal("100.5"),
        "low": Decimal("99.5"),
        "last": Decimal("99.5"),
        "change": -1,
        "change_percent": Decimal("-0.995"),
        "timestamp": None,
    }
    for symbol in (instrument, untraded, "BTC-USD"):
        alone = client.get("/ticker", instrument=symbol).json
        assert TIME.fullmatch(alone.pop("timestamp"))
        assert TIME.fullmatch(tickers[symbol].pop("timestamp"))
        assert tickers[symbol] == alone
    assert tickers[untraded]["last"] is None
    assert client.get("/tickers", instrument=instrument).refused_fields() == {"instrument"}


def test_the_last_price_of_a_ticker_is_older_than_its_day(
    client: Client, market: Market, instrument: str
) -> None:
    make_trade(client, instrument, 100, 1)
    market.database.execute(
        "UPDATE marketdata_candle SET time = time - interval '25 hours' WHERE instrument_id = "
        "(SELECT id FROM instruments_instrument WHERE symbol = %s)",
        (instrument,),
    )
    tickers = {ticker["instrument"]: ticker for ticker in client.get("/tickers").json["tickers"]}
    for ticker in (tickers[instrument], client.get("/ticker", instrument=instrument).json):
        assert (ticker["last"], ticker["open"], ticker["trade_count"], ticker["volume"]) == (100, None, 0, 0)


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
    for symbol, row in rows.items():
        assert f"{row['base_asset']}-{row['quote_asset']}" == symbol
    assert '"lot_size":0.00000001,' in client.get("/instruments").text


@pytest.mark.parametrize("rule", ["cancel_taker", "cancel_maker", "cancel_both", "decrement"])
def test_an_instrument_has_a_self_trade_prevention_of_its_own(
    client: Client, market: Market, instrument: str, client_id: str, rule: str
) -> None:
    """Orders that do not name one have the instrument's."""

    def shown() -> Any:
        rows = client.get("/instruments").json["instruments"]
        return next(row["self_trade_prevention"] for row in rows if row["symbol"] == instrument)

    assert shown() == "none"
    market.database.execute(
        "UPDATE instruments_instrument SET self_trade_prevention = %s WHERE symbol = %s", (rule, instrument)
    )
    wait_until(lambda: shown() == rule, "the API has the instrument's new rule")
    order = client.place(instrument, "buy", 1, 10, client_id=client_id)
    assert order["self_trade_prevention"] == rule
    named = client.place(instrument, "buy", 1, 10, client_id=client_id, self_trade_prevention="none")
    assert named["self_trade_prevention"] == "none"
