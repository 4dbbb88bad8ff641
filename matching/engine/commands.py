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

from matching.engine.instructions import PLAIN, Instructions, TimeInForce

INTEGER_MAX = 2**63 - 1
"""The largest price in ticks and quantity in lots, which is the largest bigint of PostgreSQL."""


class Side(IntEnum):
    """The side of an order."""

    BUY = 0
    SELL = 1


class OrderKind(IntEnum):
    """What an order does, and whether it waits for a trade first.

    A LIMIT order rests with its unfilled quantity. A MARKET order takes any price and never rests.
    The others wait until a trade meets their trigger price. Then STOP and TAKE_PROFIT trade as
    market orders, STOP_LIMIT and TAKE_PROFIT_LIMIT as limit orders.
    """

    LIMIT = 0
    MARKET = 1
    STOP = 2
    TAKE_PROFIT = 3
    STOP_LIMIT = 4
    TAKE_PROFIT_LIMIT = 5


class CancelReason(StrEnum):
    """The reason why an order, or its remainder, was cancelled."""

    CLIENT_REQUEST = "client_request"
    """The owner asked for the cancel."""
    OPERATOR = "operator"
    """An operator of the exchange asked for the cancel."""
    EXPIRED = "expired"
    """The time of a GTD order has come."""
    CANCEL_AFTER = "cancel_after"
    """The owner's dead man's switch has run out."""
    DISCONNECTED = "disconnected"
    """The owner's connection has ended."""
    NO_LIQUIDITY = "no_liquidity"
    """The opposite side has no orders left for a market order."""
    UNFILLED_IOC = "unfilled_ioc"
    """The remainder of an IOC limit order."""
    UNFILLED_FOK = "unfilled_fok"
    """A FOK order that could not be filled completely."""
    SELF_TRADE = "self_trade"
    """Self-trade prevention ended the order."""
    TOO_MANY_TRADES = "too_many_trades"
    """The order has made as many trades as one order may, and would trade again."""
    WOULD_CROSS = "would_cross"
    """A post-only order would have traded when it was triggered."""
    TOO_MANY_ORDERS = "too_many_orders"
    """Its client, or the book, had too many orders when it was triggered."""
    TOO_MANY_LEVELS = "too_many_levels"
    """The book had too many price levels when it was triggered."""


class PlaceOrder(Struct, frozen=True, gc=False):
    """A new order, and later the order as its client has amended it.

    `quantity_lots` is at least 1. `price_ticks` is 0 for the market kinds, and
    `trigger_price_ticks` is 0 for LIMIT and MARKET.
    """

    order_id: str
    client_id: str
    side: Side
    kind: OrderKind
    price_ticks: int
    quantity_lots: int
    instructions: Instructions = PLAIN
    trigger_price_ticks: int = 0

    @property
    def has_limit(self) -> bool:
        """Whether the order has a limit price, and so may rest."""
        return self.kind in LIMIT_KINDS

    @property
    def waits(self) -> bool:
        """Whether the order waits for a trade before it enters the book."""
        return self.kind not in _ENTERING_KINDS

    @property
    def triggers_above(self) -> bool:
        """Whether trades at or above the trigger price trigger the order, not at or below."""
        return (self.kind in _STOP_KINDS) == (self.side is Side.BUY)

    def is_triggered_by(self, price_ticks: int | None) -> bool:
        """Return whether a last trade at this price meets the trigger. None: no trade so far."""
        if price_ticks is None:
            return False
        if self.triggers_above:
            return price_ticks >= self.trigger_price_ticks
        return price_ticks <= self.trigger_price_ticks


class CancelOrder(Struct, frozen=True, gc=False):
    """Cancels a resting or waiting order. `client_id` must be the order's owner."""

    order_id: str
    client_id: str
    reason: CancelReason = CancelReason.CLIENT_REQUEST


class AmendOrder(Struct, frozen=True, gc=False):
    """Changes a resting or waiting order. `client_id` must be the order's owner.

    None leaves a number as it is. `quantity_lots` is the new total, with what is filled already.
    `changes_expiry` tells that the caller changes the order's time, which only a GTD order has.
    If `is_halted`, only an amend that reduces the quantity is carried out.
    """

    order_id: str
    client_id: str
    price_ticks: int | None = None
    quantity_lots: int | None = None
    trigger_price_ticks: int | None = None
    changes_expiry: bool = False
    is_halted: bool = False


_LIMIT = OrderKind.LIMIT  # Looking an enum member up each time costs 75 ns in CPython 3.11.
# Tuples, because the hash of an enum's member is slow.
LIMIT_KINDS = (_LIMIT, OrderKind.STOP_LIMIT, OrderKind.TAKE_PROFIT_LIMIT)
_ENTERING_KINDS = (_LIMIT, OrderKind.MARKET)
_STOP_KINDS = (OrderKind.STOP, OrderKind.STOP_LIMIT)


def check_place_order(command: PlaceOrder) -> None:
    """Raise ValueError with the field's name and value if the order is impossible."""
    if type(command.order_id) is not str or type(command.client_id) is not str:
        check_ids(command.order_id, command.client_id)
    check_integer("quantity_lots", command.quantity_lots)
    if type(command.side) is not Side:
        raise ValueError(f"side={command.side!r}: expected Side.BUY or Side.SELL")
    if type(command.kind) is not OrderKind:
        raise ValueError(f"kind={command.kind!r}: expected an OrderKind")
    if command.has_limit:
        check_integer("price_ticks", command.price_ticks)
    elif type(command.price_ticks) is not int or command.price_ticks != 0:
        raise ValueError(f"price_ticks={command.price_ticks!r}: expected 0 for a market order")
    if command.waits:
        check_integer("trigger_price_ticks", command.trigger_price_ticks)
    elif type(command.trigger_price_ticks) is not int or command.trigger_price_ticks != 0:
        raise ValueError(f"trigger_price_ticks={command.trigger_price_ticks!r}: expected 0 without a trigger")
    if command.instructions is not PLAIN:
        _check_instructions(command)


def _check_instructions(command: PlaceOrder) -> None:
    instructions = command.instructions
    if type(instructions) is not Instructions:
        raise ValueError(f"instructions={instructions!r}: expected Instructions")
    rests = command.has_limit and instructions.time_in_force in (TimeInForce.GTC, TimeInForce.GTD)
    if instructions.post_only and not rests:
        raise ValueError("post_only=True: expected a limit order that may rest")
    if instructions.time_in_force is TimeInForce.GTD and not command.has_limit:
        raise ValueError("time_in_force=GTD: expected a limit order")


def check_amend_order(command: AmendOrder) -> None:
    """Raise ValueError with the field's name and value if the amend is impossible."""
    check_ids(command.order_id, command.client_id)
    for name in ("price_ticks", "quantity_lots", "trigger_price_ticks"):
        value = getattr(command, name)
        if value is not None:
            check_integer(name, value)


def check_integer(name: str, value: object) -> None:
    """Raise ValueError if a price or quantity is not a positive integer within INTEGER_MAX."""
    # `type() is` also refuses bool, which is an int, and float, which compares like one.
    if type(value) is not int or not 0 < value <= INTEGER_MAX:
        raise ValueError(f"{name}={value!r}: expected an integer from 1 to {INTEGER_MAX}")


def check_ids(order_id: object, client_id: object) -> None:
    """Raise ValueError if an id is not a string."""
    if type(order_id) is not str:
        raise ValueError(f"order_id={order_id!r}: expected a string")
    if type(client_id) is not str:
        raise ValueError(f"client_id={client_id!r}: expected a string")
