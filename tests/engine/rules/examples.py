"""What the tests of the rules share: short names, a trade, and what events say.

These tests follow the examples of docs/orders.md, and run on the engine and on the reference.
"""

from matching.engine import (
    CancelReason,
    Event,
    OrderEntered,
    OrderKind,
    OrderTriggered,
    RemainderCancelled,
    SelfTradePrevention,
    Side,
    TimeInForce,
    Trade,
)
from tests.engine.orders import Book, market, place, sell

STOP, TAKE_PROFIT = OrderKind.STOP, OrderKind.TAKE_PROFIT
STOP_LIMIT, TAKE_PROFIT_LIMIT = OrderKind.STOP_LIMIT, OrderKind.TAKE_PROFIT_LIMIT
GTC, GTD, IOC, FOK = TimeInForce.GTC, TimeInForce.GTD, TimeInForce.IOC, TimeInForce.FOK
CANCEL_TAKER, CANCEL_MAKER = SelfTradePrevention.CANCEL_TAKER, SelfTradePrevention.CANCEL_MAKER
CANCEL_BOTH, DECREMENT = SelfTradePrevention.CANCEL_BOTH, SelfTradePrevention.DECREMENT
PREVENTIONS = (CANCEL_TAKER, CANCEL_MAKER, CANCEL_BOTH, DECREMENT)


def trade_at(book: Book, price_ticks: int) -> list[Event]:
    """Let two clients trade at this price, and return the taker's events."""
    return place(book, sell("printed", price_ticks, 1, "pat"), market("print", Side.BUY, 1, "pam"))


def entered(events: list[Event]) -> list[str]:
    return [event.order.order_id for event in events if isinstance(event, OrderEntered)]


def fills(events: list[Event]) -> list[tuple[str, int, int]]:
    """Return maker, price and quantity of each trade."""
    return [
        (event.maker.order_id, event.price_ticks, event.quantity_lots)
        for event in events
        if isinstance(event, Trade)
    ]


def ending(events: list[Event]) -> tuple[int, CancelReason]:
    """Return remaining lots and reason of the order that ends with these events."""
    last = next(event for event in reversed(events) if not isinstance(event, OrderTriggered))
    assert isinstance(last, RemainderCancelled)
    return last.remaining_lots, last.reason
