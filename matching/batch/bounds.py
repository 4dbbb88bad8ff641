"""Limits on resting and waiting orders, so that no client can make a book too large to trade in or to load.

The limits apply to orders that may rest or wait, and are checked before such an order touches the
book: when it is new, when it is triggered, and when an amend changes its price. If a limit is
lowered, orders stay, and recovery loads books of any size.
Cost: O(1) for each order.
"""

from decimal import Decimal
from typing import NamedTuple, Self

from django.conf import settings

from base.numbers import EXACT
from matching import engine
from matching.batch.market_book import MarketBook
from orders.models import Reason

_LIMIT = engine.OrderKind.LIMIT
_MARKET = engine.OrderKind.MARKET
_NEVER_REST = (engine.TimeInForce.IOC, engine.TimeInForce.FOK)
_TOO_MANY_ORDERS = Reason.TOO_MANY_ORDERS.value
_TOO_MANY_LEVELS = Reason.TOO_MANY_LEVELS.value


class Bounds(NamedTuple):
    """The limits that all instruments share.

    Each instrument also has `open_orders_max`, the limit of resting orders and of
    waiting orders for each client.
    """

    orders_max: int  # resting orders in one book, and waiting orders of one instrument
    levels_max: int  # price levels on one side of one book
    improving_levels_max: int  # extra levels, for orders that improve their side's best price

    @classmethod
    def of_settings(cls) -> Self:
        return cls(
            settings.INSTRUMENT_OPEN_ORDERS_MAX,
            settings.BOOK_LEVELS_PER_SIDE_MAX,
            settings.BOOK_LEVELS_IMPROVING_MAX,
        )

    def refusal(self, market: MarketBook, order: engine.PlaceOrder) -> str | None:
        """Return the reason to reject a new order, or None."""
        if order.kind is _MARKET:
            return None
        if order.kind is not _LIMIT:
            return self._waiting_refusal(market, order)
        return self.resting_refusal(market, order)

    def resting_refusal(self, market: MarketBook, order: engine.PlaceOrder) -> str | None:
        """Return the reason why an order may not enter the book, or None.

        An order that crosses the opposite side always improves its own side's best price, so the
        extra levels are open to it.
        """
        instructions = order.instructions
        if not order.has_limit or (
            instructions is not engine.PLAIN and instructions.time_in_force in _NEVER_REST
        ):
            return None
        book = market.book
        if (
            market.orders.resting.count(order.client_id) >= market.instrument.open_orders_max
            or len(book) >= self.orders_max
        ):
            return _TOO_MANY_ORDERS
        return self.level_refusal(market, order.side, order.price_ticks)

    def level_refusal(self, market: MarketBook, side: engine.Side, price_ticks: int) -> str | None:
        """Return the reason why no order may rest at this price, or None."""
        book = market.book
        excess = book.level_count(side) - self.levels_max
        if (
            excess >= 0
            and book.opens_level(side, price_ticks)
            and (excess >= self.improving_levels_max or not book.improves(side, price_ticks))
        ):
            return _TOO_MANY_LEVELS
        return None

    def _waiting_refusal(self, market: MarketBook, order: engine.PlaceOrder) -> str | None:
        """A client may have as many waiting orders as resting ones, and so may a book."""
        if (
            market.orders.waiting.count(order.client_id) >= market.instrument.open_orders_max
            or market.book.waiting_count >= self.orders_max
        ):
            return _TOO_MANY_ORDERS
        return None


def is_below_min_notional(
    market: MarketBook, order: engine.PlaceOrder, price_ticks: int | None, quantity_lots: int | None
) -> bool:
    """Return whether an amend would take a limit order below the instrument's `min_notional`.

    The API checks new orders. It does not know the numbers that an amend leaves as they are.
    """
    least, grid = market.instrument.min_notional, market.instrument.grid
    if least is None or not order.has_limit:
        return False
    price_ticks = order.price_ticks if price_ticks is None else price_ticks
    quantity_lots = order.quantity_lots if quantity_lots is None else quantity_lots
    if (price_ticks, quantity_lots) == (order.price_ticks, order.quantity_lots):
        return False
    step = EXACT.multiply(grid.price.size, grid.quantity.size)
    return EXACT.multiply(Decimal(price_ticks * quantity_lots), step) < least
