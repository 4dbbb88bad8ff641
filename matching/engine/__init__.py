"""The matching engine: one OrderBook per instrument, commands in, events out, integers only.

Prices are ticks, quantities are lots; turning decimals into them is the edge's work. Nothing here knows a
clock, a database, randomness or a log, so the same commands give the same events, always.

How to read it: commands.py → book.py → events.py; book_side.py and level.py hold what book.py works on.
open_orders.py counts what the events tell, for the bounds that a caller sets.
"""

from matching.engine.book import OrderBook
from matching.engine.commands import INTEGER_MAX, CancelOrder, OrderType, PlaceOrder, Side
from matching.engine.events import (
    CommandRejected,
    Event,
    OrderCancelled,
    OrderRested,
    RejectReason,
    RemainderCancelled,
    RemainderReason,
    Trade,
)
from matching.engine.level import Level
from matching.engine.open_orders import OpenOrders

__all__ = [
    "INTEGER_MAX",
    "CancelOrder",
    "CommandRejected",
    "Event",
    "Level",
    "OpenOrders",
    "OrderBook",
    "OrderCancelled",
    "OrderRested",
    "OrderType",
    "PlaceOrder",
    "RejectReason",
    "RemainderCancelled",
    "RemainderReason",
    "Side",
    "Trade",
]
