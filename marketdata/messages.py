"""The messages of /stream, and the batches that the matching worker sends to the API processes.

The worker encodes trades and order updates once, as JSON, and the API processes forward that text.
Batches also have the book's changes. Each API process makes its own deltas from the changes: one
for all followers with the same pace.
"""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

import msgspec

from base.documents import Count, Number, TimeText, UuidText, described, one_of
from base.encoding import encode_json
from marketdata.documents import LevelTotal, TickerDocument
from orders.documents import FillDocument, Liquidity, OrderState
from orders.fields import ClientId, SideName, TakerSide

ERROR_CODES = (
    "invalid_json",
    "invalid_message",
    "instrument_not_found",
    "unavailable",
    "stale",
    "slow_consumer",
    "silent",
    "disconnected",
)
"""The codes of errors on the stream, other than those in results."""
Checksum = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]


class LevelChange(msgspec.Struct):
    """A level's new total.

    `side` is the side of its orders. If `quantity` is 0, the level is gone.
    """

    side: SideName
    price: Number
    quantity: Number
    orders: Count


class OrderBookSnapshot(msgspec.Struct, tag_field="type", tag="orderbook_snapshot", kw_only=True):
    instrument: str
    sequence: Count
    bids: list[LevelTotal]
    asks: list[LevelTotal]
    checksum: Checksum
    timestamp: TimeText


class Depth(OrderBookSnapshot, tag="depth", kw_only=True):
    """The best levels, for clients that keep no book."""


class OrderBookDelta(msgspec.Struct, tag_field="type", tag="orderbook_delta", kw_only=True):
    """The changes since `previous_sequence`, merged: each level appears at most once.

    `checksum` is the checksum of the book after these changes.
    """

    instrument: str
    sequence: Count
    previous_sequence: Count
    changes: list[LevelChange]
    checksum: Checksum
    timestamp: TimeText


class TradeMessage(msgspec.Struct, tag_field="type", tag="trade", kw_only=True):
    """A public trade, without its parties. `side` is the taker's."""

    instrument: str
    trade_id: UuidText
    sequence: Count
    price: Number
    quantity: Number
    side: TakerSide
    timestamp: TimeText


class Resumed(msgspec.Struct, tag_field="type", tag="resumed", kw_only=True):
    """Tells clients that do not follow the book that an error `stale` is over."""

    instrument: str


class Ticker(TickerDocument, tag_field="type", tag="ticker"):
    """The best prices, the last price, and the trading of the last 24 hours."""


class CandleMessage(msgspec.Struct, tag_field="type", tag="candle", kw_only=True):
    """The current state of a candle. It is `closed` once its interval is over."""

    instrument: str
    interval: str
    time: TimeText
    open: Number
    high: Number
    low: Number
    close: Number
    volume: Number
    trade_count: Count
    closed: bool


class Quote(msgspec.Struct, tag_field="type", tag="quote", kw_only=True):
    """The best bid and ask. A price is null if its side is empty."""

    instrument: str
    sequence: Count
    bid: Number | None
    bid_quantity: Number | None
    ask: Number | None
    ask_quantity: Number | None
    timestamp: TimeText


class OrdersSnapshot(msgspec.Struct, tag_field="type", tag="orders_snapshot", kw_only=True):
    """A client's open and pending orders, oldest first.

    It is not `complete` if the client has more than STREAM_OPEN_ORDERS_MAX.
    """

    instrument: str
    client_id: ClientId
    sequence: Count
    orders: list[OrderState]
    complete: bool
    timestamp: TimeText


OrderUpdate = msgspec.defstruct(
    "OrderUpdate",
    [
        *((field.name, field.type) for field in msgspec.structs.fields(OrderState)),
        ("sequence", Count),
        ("fills", list[FillDocument]),
    ],
    namespace={"__doc__": "An order's new state, with its fills since the last update."},
    tag_field="type",
    tag="order_update",
    kw_only=True,
)
"""Describes the message that `orders.documents.order_update` writes."""


class FillMessage(msgspec.Struct, tag_field="type", tag="fill", kw_only=True):
    """A client's half of a trade."""

    trade_id: UuidText
    order_id: UuidText
    client_id: ClientId
    idempotency_key: str | None
    instrument: str
    side: SideName
    price: Number
    quantity: Number
    liquidity: Liquidity
    sequence: Count
    timestamp: TimeText


class Heartbeat(msgspec.Struct, tag_field="type", tag="heartbeat"):
    """Nothing else was sent for a while."""


class ErrorMessage(msgspec.Struct, tag_field="type", tag="error", kw_only=True):
    """A message of the client was refused, or something is wrong with what the client follows."""

    code: Annotated[str, one_of(ERROR_CODES)]
    message: str
    id: Annotated[Any, described(description="of the refused message, if it has one")] = msgspec.UNSET
    instrument: Annotated[str | msgspec.UnsetType, described(description="only with the code `stale`")] = (
        msgspec.UNSET
    )


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
    return encode_json(ErrorMessage(code=code, message=message, **more)).decode()


def group_name(symbol: str) -> str:
    """Return the name of the Channels group that receives an instrument's batches."""
    return f"marketdata.{symbol}"


BATCH_MESSAGE_TYPE = "marketdata.batch"
encode_batch = msgspec.msgpack.Encoder().encode
decode_batch = msgspec.msgpack.Decoder(MarketBatch).decode
