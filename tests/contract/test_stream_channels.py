"""The channels of /stream that show a state, and throttled subscriptions.

The channels are ticker, candles, depth and the open orders.
"""

import time
from decimal import Decimal
from typing import Any

import pytest

from loadtools.local_book import LocalBook
from tests.contract.client import Client
from tests.contract.stream import Stream, make_trade

DEPTH_LEVELS = 20
MESSAGES = 5  # throttled messages whose time is measured


def receive_first(stream: Stream, kind: str, **fields: Any) -> Any:
    """Skip messages up to the first of this type with these fields, and return it."""

    def fits(message: Any) -> bool:
        return bool(message["type"] == kind and all(message[name] == value for name, value in fields.items()))

    return stream.receive_until(fits)[-1]


def test_the_ticker_shows_prices_and_statistics_as_they_change(
    stream: Stream, client: Client, instrument: str
) -> None:
    stream.subscribe("ticker", instrument=instrument)
    (empty,) = stream.expect("ticker")
    assert (empty["bid"], empty["ask"], empty["last"], empty["change"]) == (None, None, None, None)
    assert (empty["volume"], empty["trade_count"]) == (0, 0)
    make_trade(client, instrument, 10)
    make_trade(client, instrument, 12)
    client.place(instrument, "buy", "0.5", 11)
    client.place(instrument, "sell", 2, 13)
    ticker = receive_first(stream, "ticker", ask=13, trade_count=2)
    assert (ticker["bid"], ticker["bid_quantity"], ticker["ask_quantity"]) == (11, Decimal("0.5"), 2)
    assert (ticker["open"], ticker["high"], ticker["low"], ticker["last"]) == (10, 12, 10, 12)
    assert (ticker["change"], ticker["change_percent"]) == (2, 20)
    assert (ticker["volume"], ticker["notional"], ticker["vwap"]) == (2, 22, 11)
    shown = client.get("/ticker", instrument=instrument).json
    assert {name: value for name, value in ticker.items() if name not in ("type", "timestamp")} == {
        name: value for name, value in shown.items() if name != "timestamp"
    }
    stream.subscribe("ticker", instrument=instrument)
    (again,) = stream.expect("ticker")
    assert again["sequence"] == ticker["sequence"]


@pytest.mark.parametrize("interval", [None, "1m", "1d"])
def test_the_open_candle_is_sent_as_it_changes(
    stream: Stream, client: Client, instrument: str, interval: str | None
) -> None:
    chosen = {} if interval is None else {"interval": interval}
    answer = stream.subscribe("candles", instrument=instrument, **chosen)
    assert answer.get("interval") == interval
    make_trade(client, instrument, 10)
    first = receive_first(stream, "candle", trade_count=1)
    make_trade(client, instrument, 12)
    second = receive_first(stream, "candle", close=12)
    if first["time"] == second["time"]:  # both trades were in one interval
        assert (second["open"], second["high"], second["low"]) == (10, 12, 10)
        assert (second["volume"], second["trade_count"]) == (2, 2)
    row = client.get("/candles", instrument=instrument, interval=interval or "1m").json["candles"][-1]
    if row["closed"] and not second["closed"]:  # its interval has ended since then
        second = receive_first(stream, "candle", time=row["time"], closed=True)
    assert second == {"type": "candle", "instrument": instrument, "interval": interval or "1m", **row}


def test_depth_shows_the_best_levels(stream: Stream, client: Client, instrument: str) -> None:
    for number in range(DEPTH_LEVELS + 2):
        client.place(instrument, "buy", 1, 100 + number)
    stream.subscribe("depth", instrument=instrument)
    (depth,) = stream.expect("depth")
    assert [level["price"] for level in depth["bids"]] == [121 - number for number in range(DEPTH_LEVELS)]
    client.place(instrument, "sell", "0.5", 121)
    depth = receive_first(stream, "depth", sequence=DEPTH_LEVELS + 2 + 1)
    assert depth["bids"][0] == {"price": 121, "quantity": Decimal("0.5"), "orders": 1}


def test_a_snapshot_of_the_open_orders_is_followed_by_their_updates(
    stream: Stream, client: Client, instrument: str
) -> None:
    first = client.place(instrument, "buy", 1, 10, client_id="owner")
    client.place(instrument, "buy", 1, 10, client_id="another")
    second = client.place(instrument, "buy", 2, 11, client_id="owner")
    third = client.place(instrument, "buy", 1, 9, client_id="owner")
    client.cancel(third["order_id"])
    client.place(instrument, "sell", 1, 11, client_id="another")
    stream.subscribe("orders", instrument=instrument, client_id="owner")
    (snapshot,) = stream.expect("orders_snapshot")
    assert (snapshot["client_id"], snapshot["sequence"], snapshot["complete"]) == ("owner", 6, True)
    rows = [client.order(order["order_id"]) for order in (first, second)]
    assert snapshot["orders"] == [
        {name: value for name, value in row.items() if not name.startswith("trades")} for row in rows
    ]
    client.cancel(first["order_id"])
    (update,) = stream.expect("order_update")
    assert (update["order_id"], update["status"], update["sequence"]) == (first["order_id"], "cancelled", 7)


def test_throttled_deltas_are_merged_and_continue_their_snapshot(
    stream: Stream, client: Client, instrument: str
) -> None:
    assert stream.subscribe("orderbook_deltas", instrument=instrument, throttle_ms=300)["throttle_ms"] == 300
    book = LocalBook(*stream.expect("orderbook_snapshot"))
    started = time.monotonic()
    deltas = 0
    price = 0
    while deltas < MESSAGES:
        for _ in range(3):
            price += 1
            client.place(instrument, "buy", 1, price)
        (delta,) = stream.expect("orderbook_delta")
        deltas += 1
        book.apply(delta)
    elapsed = time.monotonic() - started
    while book.sequence < price:
        book.apply(*stream.expect("orderbook_delta"))
    assert len(book.levels()[0]) == price
    assert elapsed >= (MESSAGES - 1) * 0.3  # the first delta is not delayed


@pytest.mark.parametrize("throttle", [-1, 60_001, 1.5, "1"])
def test_an_invalid_throttle_is_refused(stream: Stream, instrument: str, throttle: object) -> None:
    request = {"type": "subscribe", "channels": ["ticker"], "instrument": instrument}
    stream.send({**request, "throttle_ms": throttle})
    stream.expect_error("invalid_message")


def test_unsubscribed_channels_send_nothing_more(stream: Stream, client: Client, instrument: str) -> None:
    channels = ("ticker", "candles", "depth")
    stream.subscribe(*channels, instrument=instrument, throttle_ms=100)
    stream.expect("ticker", "depth")
    stream.send({"type": "unsubscribe", "channels": channels, "instrument": instrument})
    stream.expect("unsubscribed")
    make_trade(client, instrument)
    stream.subscribe("depth", instrument=instrument)
    stream.expect("depth")
    # Three messages take 0.3 s. Messages of the unsubscribed channels would have come after 0.1 s.
    for number in range(3, 6):
        client.place(instrument, "buy", 1, number)
        while stream.expect("depth")[0]["sequence"] < number:
            pass
    stream.ping("no other message was sent")
