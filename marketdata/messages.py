"""What /stream says, and how a batch of the matching worker reaches the API processes.

The worker writes trades and order updates once, as JSON; the API processes pass the text on as it is. Of the book
it tells the changes: each process writes its deltas itself, one for all who follow at the same pace.
"""

from datetime import datetime
from decimal import Decimal

import msgspec

from orders.documents import OrderState
from rest.encoding import encode_json
from rest.numbers import Number


class LevelDocument(msgspec.Struct):
    """The orders at one price. A quantity of 0 in a delta: the level is gone."""

    price: Number
    quantity: Number
    orders: int


class LevelChange(msgspec.Struct):
    """A level's new total; `side` is the side of its orders."""

    side: str
    price: Number
    quantity: Number
    orders: int


class OrderBookSnapshot(msgspec.Struct, tag_field="type", tag="orderbook_snapshot", kw_only=True):
    instrument: str
    sequence: int
    bids: list[LevelDocument]
    asks: list[LevelDocument]
    checksum: int
    timestamp: str


class Depth(OrderBookSnapshot, tag="depth", kw_only=True):
    """The best levels, for who keeps no book."""


class OrderBookDelta(msgspec.Struct, tag_field="type", tag="orderbook_delta", kw_only=True):
    """What changed since `previous_sequence`, merged: each level is named once. `checksum` is of the book then."""

    instrument: str
    sequence: int
    previous_sequence: int
    changes: list[LevelChange]
    checksum: int
    timestamp: str


class TradeMessage(msgspec.Struct, tag_field="type", tag="trade", kw_only=True):
    """A public print, without the parties."""

    instrument: str
    trade_id: str
    sequence: int
    price: Number
    quantity: Number
    side: str
    timestamp: str


class Resumed(msgspec.Struct, tag_field="type", tag="resumed", kw_only=True):
    """The end of an error `stale` for who does not follow the book; who does gets a snapshot."""

    instrument: str


class Ticker(msgspec.Struct, tag_field="type", tag="ticker", kw_only=True):
    """Best prices, the last price ever, and the trading of the last 24 hours."""

    instrument: str
    sequence: int
    bid: Number | None
    bid_quantity: Number | None
    ask: Number | None
    ask_quantity: Number | None
    last: Number | None
    open: Number | None
    high: Number | None
    low: Number | None
    change: Number | None
    change_percent: Number | None
    volume: Number
    notional: Number
    vwap: Number | None
    trade_count: int
    timestamp: str


class CandleMessage(msgspec.Struct, tag_field="type", tag="candle", kw_only=True):
    """A candle as it stands; `closed` once its interval is over."""

    instrument: str
    interval: str
    time: str
    open: Number
    high: Number
    low: Number
    close: Number
    volume: Number
    trade_count: int
    closed: bool


class OrdersSnapshot(msgspec.Struct, tag_field="type", tag="orders_snapshot", kw_only=True):
    """A client's open orders, oldest first; not `complete` where there are more than STREAM_OPEN_ORDERS_MAX."""

    instrument: str
    client_id: str
    sequence: int
    orders: list[OrderState]
    complete: bool
    timestamp: str


class Minute(msgspec.Struct, array_like=True, frozen=True):
    """One minute of trading so far, whole: whoever misses one is right again with the next."""

    start: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    notional: Decimal
    trade_count: int


# Side, ticks, lots, orders (0: gone). Lots are text where there are more of them than MessagePack has integers.
LevelState = tuple[str, int, int | str, int]


class MarketBatch(msgspec.Struct, array_like=True, kw_only=True):
    """One commit's effects on one book, from the worker to every API process.

    Without changes it is a heartbeat that tells the sequence and the book's checksum. Trades are JSON messages for
    the stream; of orders, which few listen to, the worker says what it tells their clients.
    """

    instrument: str
    previous_sequence: int
    sequence: int
    timestamp: str = ""
    levels: list[LevelState] = []
    trades: list[str] = []
    orders: list[
        tuple[str, int, bytes]
    ] = []  # client id, sequence, JSON of an OrderState, and its trades or not
    minute: Minute | None = None
    checksum: int | None = None


def error_text(code: str, message: str, **more: str) -> str:
    """An error of the stream, as JSON."""
    return encode_json({"type": "error", "code": code, "message": message, **more}).decode()


def group_name(symbol: str) -> str:
    """The Channels group of an instrument's batches."""
    return f"marketdata.{symbol}"


BATCH_MESSAGE_TYPE = "marketdata.batch"
encode_batch = msgspec.msgpack.Encoder().encode
decode_batch = msgspec.msgpack.Decoder(MarketBatch).decode
