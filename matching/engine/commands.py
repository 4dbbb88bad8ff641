"""The commands of the book, and the check that a command is possible.

Invariant: a command that passes its check can be carried out completely. All errors are raised by
the check, before the book is touched. If an order id is unknown or belongs to another client, the
answer is an event, not an error. Cost: O(1). Known limit: ids may be any text. Callers keep white
space out of them, because the lines of `state_hash` use it as separator.

The garbage collector does not track these structs: they hold only strings and integers, so they
can't form cycles.
"""

from enum import IntEnum, StrEnum

from msgspec import Struct

INTEGER_MAX = 2**63 - 1
"""The largest price in ticks and quantity in lots, which is the largest bigint of PostgreSQL."""


class Side(IntEnum):
    """The side of an order."""

    BUY = 0
    SELL = 1


class OrderKind(IntEnum):
    """A LIMIT order rests with its unfilled quantity.

    A MARKET order takes any price and never rests.
    """

    LIMIT = 0
    MARKET = 1


class CancelReason(StrEnum):
    """The reason why an order, or its remainder, was cancelled."""

    CLIENT_REQUEST = "client_request"
    """The owner asked for the cancel."""
    OPERATOR = "operator"
    """An operator of the exchange asked for the cancel."""
    NO_LIQUIDITY = "no_liquidity"
    """The opposite side has no orders left for a market order."""
    TOO_MANY_TRADES = "too_many_trades"
    """The order has made as many trades as one order may, and would trade again."""


class PlaceOrder(Struct, frozen=True, gc=False):
    """A new order. `price_ticks` is 0 for a market order; `quantity_lots` is at least 1."""

    order_id: str
    client_id: str
    side: Side
    kind: OrderKind
    price_ticks: int
    quantity_lots: int


class CancelOrder(Struct, frozen=True, gc=False):
    """Cancels a resting order. `client_id` must be the order's owner."""

    order_id: str
    client_id: str
    reason: CancelReason = CancelReason.CLIENT_REQUEST


_LIMIT = OrderKind.LIMIT  # Looking an enum member up each time costs 75 ns in CPython 3.11.
_MARKET = OrderKind.MARKET


def check_place_order(command: PlaceOrder) -> None:
    """Raise ValueError with the field's name and value if the order is impossible."""
    price_ticks = command.price_ticks
    quantity_lots = command.quantity_lots
    if type(command.order_id) is not str or type(command.client_id) is not str:
        check_ids(command.order_id, command.client_id)
    # `type() is` also refuses bool, which is an int, and float, which compares like one.
    if type(quantity_lots) is not int or not 0 < quantity_lots <= INTEGER_MAX:
        raise ValueError(f"quantity_lots={quantity_lots!r}: expected an integer from 1 to {INTEGER_MAX}")
    if type(command.side) is not Side:
        raise ValueError(f"side={command.side!r}: expected Side.BUY or Side.SELL")
    if command.kind is _LIMIT:
        if type(price_ticks) is not int or not 0 < price_ticks <= INTEGER_MAX:
            raise ValueError(f"price_ticks={price_ticks!r}: expected an integer from 1 to {INTEGER_MAX}")
    elif command.kind is not _MARKET:
        raise ValueError(f"kind={command.kind!r}: expected OrderKind.LIMIT or OrderKind.MARKET")
    elif type(price_ticks) is not int or price_ticks != 0:
        raise ValueError(f"price_ticks={price_ticks!r}: expected 0 for a market order")


def check_ids(order_id: object, client_id: object) -> None:
    """Raise ValueError if an id is not a string."""
    if type(order_id) is not str:
        raise ValueError(f"order_id={order_id!r}: expected a string")
    if type(client_id) is not str:
        raise ValueError(f"client_id={client_id!r}: expected a string")
