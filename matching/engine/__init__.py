"""The matching engine: one OrderBook for each instrument, which turns commands into events.

All numbers are integers: prices in ticks, quantities in lots. Callers convert decimals. The engine
uses no clock, database, randomness or log, so the same commands always give the same events.

Read instructions.py and commands.py, then book.py, then events.py. matcher.py and amends.py are the
parts of book.py. book_side.py, level.py and waiting_orders.py are its data structures.
client_orders.py knows each client's orders from the events, for callers that limit or cancel them.
"""

from matching.engine.book import OrderBook
from matching.engine.client_orders import ClientOrders
from matching.engine.commands import (
    INTEGER_MAX,
    LIMIT_KINDS,
    AmendOrder,
    CancelOrder,
    CancelReason,
    OrderKind,
    PlaceOrder,
    Side,
)
from matching.engine.events import (
    CommandRejected,
    Event,
    MatchPrevented,
    OrderCancelled,
    OrderEntered,
    OrderReduced,
    OrderRested,
    OrderTriggered,
    OrderWaits,
    OrderWithdrawn,
    RejectReason,
    RemainderCancelled,
    Trade,
    WaitingAmended,
    WaitingCancelled,
)
from matching.engine.instructions import (
    PLAIN,
    Instructions,
    SelfTradePrevention,
    TimeInForce,
    instructions_of,
)
from matching.engine.level import Level
from matching.engine.waiting_orders import WaitingCounts

__all__ = [
    "INTEGER_MAX",
    "LIMIT_KINDS",
    "PLAIN",
    "AmendOrder",
    "CancelOrder",
    "CancelReason",
    "ClientOrders",
    "CommandRejected",
    "Event",
    "Instructions",
    "Level",
    "MatchPrevented",
    "OrderBook",
    "OrderCancelled",
    "OrderEntered",
    "OrderKind",
    "OrderReduced",
    "OrderRested",
    "OrderTriggered",
    "OrderWaits",
    "OrderWithdrawn",
    "PlaceOrder",
    "RejectReason",
    "RemainderCancelled",
    "SelfTradePrevention",
    "Side",
    "TimeInForce",
    "Trade",
    "WaitingAmended",
    "WaitingCancelled",
    "WaitingCounts",
    "instructions_of",
]
