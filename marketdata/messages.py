"""What /stream says, and how a batch of the matching worker reaches the API processes.

The worker writes each message of the stream once, as JSON; the API processes pass the text on as it is.
"""

import msgspec

from rest.content import encode_json
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
    timestamp: str


class OrderBookDelta(msgspec.Struct, tag_field="type", tag="orderbook_delta", kw_only=True):
    """What changed since `previous_sequence`. A batch's changes are merged: each level is named once."""

    instrument: str
    sequence: int
    previous_sequence: int
    changes: list[LevelChange]
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


class MarketBatch(msgspec.Struct, array_like=True, kw_only=True):
    """One commit's effects on one book, from the worker to every API process.

    Without changes it is a heartbeat that only tells the sequence. Texts are JSON messages for the stream.
    """

    instrument: str
    previous_sequence: int
    sequence: int
    levels: list[tuple[str, int, str, str, int]] = []  # side, ticks, price, quantity, orders (0: gone)
    delta: str = ""
    trades: list[str] = []
    orders: list[tuple[str, str]] = []  # client id, order_update


def error_text(code: str, message: str, **more: str) -> str:
    """An error of the stream, as JSON."""
    return encode_json({"type": "error", "code": code, "message": message, **more}).decode()


def group_name(symbol: str) -> str:
    """The Channels group of an instrument's batches."""
    return f"marketdata.{symbol}"


BATCH_MESSAGE_TYPE = "marketdata.batch"
encode_batch = msgspec.msgpack.Encoder().encode
decode_batch = msgspec.msgpack.Decoder(MarketBatch).decode
