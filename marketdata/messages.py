"""The messages of /stream, and the batches that the matching worker sends to the API processes.

The worker encodes trades and order updates once, as JSON, and the API processes forward that text.
Batches also have the book's changes. Each API process makes its own deltas from the changes: one
for all followers with the same pace.
"""

from datetime import datetime
from decimal import Decimal

import msgspec

from base.documents import Number
from base.encoding import encode_json
from marketdata.documents import LevelTotal, TickerDocument
from orders.documents import OrderState


class LevelChange(msgspec.Struct):
    """A level's new total.

    `side` is the side of its orders. If `quantity` is 0, the level is gone.
    """

    side: str
    price: Number
    quantity: Number
    orders: int


class OrderBookSnapshot(msgspec.Struct, tag_field="type", tag="orderbook_snapshot", kw_only=True):
    instrument: str
    sequence: int
    bids: list[LevelTotal]
    asks: list[LevelTotal]
    checksum: int
    timestamp: str


class Depth(OrderBookSnapshot, tag="depth", kw_only=True):
    """The best levels, for clients that keep no book."""


class OrderBookDelta(msgspec.Struct, tag_field="type", tag="orderbook_delta", kw_only=True):
    """The changes since `previous_sequence`, merged: each level appears at most once.

    `checksum` is the checksum of the book after these changes.
    """

    instrument: str
    sequence: int
    previous_sequence: int
    changes: list[LevelChange]
    checksum: int
    timestamp: str


class TradeMessage(msgspec.Struct, tag_field="type", tag="trade", kw_only=True):
    """A public trade, without its parties. `side` is the taker's."""

    instrument: str
    trade_id: str
    sequence: int
    price: Number
    quantity: Number
    side: str
    timestamp: str


class Resumed(msgspec.Struct, tag_field="type", tag="resumed", kw_only=True):
    """Tells clients that do not follow the book that an error `stale` is over."""

    instrument: str


class Ticker(TickerDocument, tag_field="type", tag="ticker"):
    """The best prices, the last price, and the trading of the last 24 hours."""


class CandleMessage(msgspec.Struct, tag_field="type", tag="candle", kw_only=True):
    """The current state of a candle. It is `closed` once its interval is over."""

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


class Quote(msgspec.Struct, tag_field="type", tag="quote", kw_only=True):
    """The best bid and ask. A price is null if its side is empty."""

    instrument: str
    sequence: int
    bid: Number | None
    bid_quantity: Number | None
    ask: Number | None
    ask_quantity: Number | None
    timestamp: str


class OrdersSnapshot(msgspec.Struct, tag_field="type", tag="orders_snapshot", kw_only=True):
    """A client's open and pending orders, oldest first.

    It is not `complete` if the client has more than STREAM_OPEN_ORDERS_MAX.
    """

    instrument: str
    client_id: str
    sequence: int
    orders: list[OrderState]
    complete: bool
    timestamp: str


class Minute(msgspec.Struct, array_like=True, frozen=True):
    """All trading of one minute so far. If a message is lost, the next one replaces it."""

    start: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    notional: Decimal
    trade_count: int


# Side, ticks, lots, orders. With 0 orders the level is gone. Lots are text if they exceed the
# integers of MessagePack.
LevelState = tuple[str, int, int | str, int]


class MarketBatch(msgspec.Struct, array_like=True, kw_only=True):
    """The effects of a commit on one book, sent by the worker to every API process.

    A batch without changes is a book heartbeat, with the book's sequence and checksum. Trades are
    JSON messages for the stream. Orders, which have few followers, are the JSON of the orders'
    documents.
    """

    instrument: str
    previous_sequence: int
    sequence: int
    timestamp: str = ""
    levels: list[LevelState] = []
    trades: list[str] = []
    # Client id, sequence, and JSON of an OrderState, with or without the order's trades.
    orders: list[tuple[str, int, bytes]] = []
    minute: Minute | None = None
    checksum: int | None = None
    # For each trade: the maker's order id and client id, and the taker's.
    parties: list[tuple[str, str, str, str]] = []


def error_text(code: str, message: str, **more: str) -> str:
    """Return an error message of the stream, as JSON."""
    return encode_json({"type": "error", "code": code, "message": message, **more}).decode()


def group_name(symbol: str) -> str:
    """Return the name of the Channels group that receives an instrument's batches."""
    return f"marketdata.{symbol}"


BATCH_MESSAGE_TYPE = "marketdata.batch"
encode_batch = msgspec.msgpack.Encoder().encode
decode_batch = msgspec.msgpack.Decoder(MarketBatch).decode
