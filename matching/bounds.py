"""Bounds on what may rest in a book, so that no client can make it too large to trade in, or to load again.

They hold for new limit orders and are checked before such an order touches the book: market orders never rest. If
a bound is lowered, the orders that rest already stay, and recovery loads books of any size. Cost: O(1) an order.
"""

from typing import NamedTuple, Self

from django.conf import settings

from matching import engine
from matching.recovery import MarketBook
from orders.models import Reason

_LIMIT = engine.OrderType.LIMIT
_TOO_MANY_ORDERS = Reason.TOO_MANY_ORDERS.value
_TOO_MANY_LEVELS = Reason.TOO_MANY_LEVELS.value


class Bounds(NamedTuple):
    """Those that are the same for all instruments. An instrument's own is `open_orders_max`, for each client."""

    orders_max: int  # that rest in one book
    levels_max: int  # prices with resting orders, on one side of one book
    improving_levels_max: int  # more of them, for orders that improve the best price of their side

    @classmethod
    def of_settings(cls) -> Self:
        return cls(
            settings.INSTRUMENT_OPEN_ORDERS_MAX,
            settings.BOOK_LEVELS_PER_SIDE_MAX,
            settings.BOOK_LEVELS_IMPROVING_MAX,
        )

    def refusal(self, market: MarketBook, order: engine.PlaceOrder) -> str | None:
        """The reason why an order may not enter the book; None if it may.

        An order that crosses the other side always improves its own, so it has the levels that are kept for such.
        """
        if order.order_type is not _LIMIT:
            return None
        book = market.book
        if (
            market.open_orders.of(order.client_id) >= market.instrument.open_orders_max
            or len(book) >= self.orders_max
        ):
            return _TOO_MANY_ORDERS
        excess = book.level_count(order.side) - self.levels_max
        if (
            excess >= 0
            and book.opens_level(order.side, order.price_ticks)
            and (excess >= self.improving_levels_max or not book.improves(order.side, order.price_ticks))
        ):
            return _TOO_MANY_LEVELS
        return None
