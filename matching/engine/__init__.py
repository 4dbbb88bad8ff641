"""The matching engine: one OrderBook for each instrument, which turns commands into events.

All numbers are integers: prices in ticks, quantities in lots. Callers convert decimals. The engine
uses no clock, database, randomness or log, so the same commands always give the same events.

Read commands.py, then book.py, then events.py. book_side.py and level.py are the data structures of
book.py. open_orders.py counts each client's resting orders from the events, for callers that limit
them.
"""

from matching.engine.book import OrderBook
from matching.engine.commands import INTEGER_MAX, CancelOrder, CancelReason, OrderKind, PlaceOrder, Side
from matching.engine.events import (
    CommandRejected,
    Event,
    OrderCancelled,
    OrderRested,
    RejectReason,
    RemainderCancelled,
    Trade,
)
from matching.engine.level import Level
from matching.engine.open_orders import OpenOrders

__all__ = [
    "INTEGER_MAX",
    "CancelOrder",
    "CancelReason",
    "CommandRejected",
    "Event",
    "Level",
    "OpenOrders",
    "OrderBook",
    "OrderCancelled",
    "OrderKind",
    "OrderRested",
    "PlaceOrder",
    "RejectReason",
    "RemainderCancelled",
    "Side",
    "Trade",
]
