"""Limits on resting orders, so that no client can make a book too large to trade in or to load.

The limits apply to new limit orders and are checked before such an order touches the book. Market
orders never rest. If a limit is lowered, resting orders stay, and recovery loads books of any size.
Cost: O(1) for each order.
"""

from typing import NamedTuple, Self

from django.conf import settings

from matching import engine
from matching.batch.market_book import MarketBook
from orders.models import Reason

_LIMIT = engine.OrderKind.LIMIT
_TOO_MANY_ORDERS = Reason.TOO_MANY_ORDERS.value
_TOO_MANY_LEVELS = Reason.TOO_MANY_LEVELS.value


class Bounds(NamedTuple):
    """The limits that all instruments share.

    Each instrument also has `open_orders_max`, the limit of resting orders for each client.
    """

    orders_max: int  # resting orders in one book
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
        """Return the reason to reject an order, or None if it may enter the book.

        An order that crosses the opposite side always improves its own side's best price, so the
        extra levels are open to it.
        """
        if order.kind is not _LIMIT:
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
