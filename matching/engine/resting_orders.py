"""The resting orders of one instrument, and the queries on them.

OrderBook adds the commands that change them.
"""

from hashlib import sha256
from itertools import islice

from matching.engine.book_side import BookSide
from matching.engine.commands import OrderKind, PlaceOrder, Side, check_place_order
from matching.engine.level import Level, RestingOrder

_BUY = Side.BUY  # Looking enum members up is slow, so it is done once: see commands.py.


class RestingOrders:
    """All resting orders of one instrument. `sequence` is the number of changes so far."""

    __slots__ = ("_asks", "_bids", "_orders", "sequence")

    def __init__(self, *, sequence: int = 0) -> None:
        self._bids = BookSide(Side.BUY)
        self._asks = BookSide(Side.SELL)
        self._orders: dict[str, RestingOrder] = {}
        if type(sequence) is not int or sequence < 0:
            raise ValueError(f"sequence={sequence!r}: expected an integer from 0")
        self.sequence = sequence

    def __del__(self) -> None:
        # Orders refer to their neighbours, and the garbage collector does not track them (see
        # level.py). Without this, a book that is dropped would never free its orders.
        self._bids.unlink()
        self._asks.unlink()

    def restore(
        self, *, order_id: str, client_id: str, side: Side, price_ticks: int, remaining_lots: int
    ) -> None:
        """Put a resting order back during recovery. Call this in the time priority of the orders.

        Returns no event and does not change `sequence`. Raises ValueError, before any change, if
        the order is impossible, rests already or would trade: then the loaded orders are not a
        valid book.
        """
        check_place_order(PlaceOrder(order_id, client_id, side, OrderKind.LIMIT, price_ticks, remaining_lots))
        if order_id in self._orders:
            raise ValueError(f"order_id={order_id!r}: rests in the book already")
        own, opposite = self._sides(side)
        best = opposite.best_price_ticks
        if best is not None and (best <= price_ticks if side is _BUY else best >= price_ticks):
            raise ValueError(f"price_ticks={price_ticks!r}: crosses the other side's best price {best}")
        self._orders[order_id] = own.append(order_id, client_id, price_ticks, remaining_lots)

    @property
    def best_bid(self) -> int | None:
        """The highest price of the bids, in ticks; None if there are no bids. O(1)."""
        return self._bids.best_price_ticks

    @property
    def best_ask(self) -> int | None:
        """The lowest price of the asks, in ticks; None if there are no asks. O(1)."""
        return self._asks.best_price_ticks

    def __len__(self) -> int:
        """The number of resting orders."""
        return len(self._orders)

    def order_count(self, side: Side) -> int:
        """Return the number of resting orders on one side. O(levels)."""
        own, _ = self._sides(side)
        return sum(level.orders for level in own.levels.values())

    def level_count(self, side: Side) -> int:
        """Return the number of prices with resting orders on one side. O(1)."""
        own = self._bids if side is _BUY else self._asks
        return len(own.keys) - own.vacant_levels

    def opens_level(self, side: Side, price_ticks: int) -> bool:
        """Return whether no order of this side rests at the price. O(1)."""
        own, _ = self._sides(side)
        level = own.levels.get(price_ticks * own.key_sign)
        return level is None or not level.orders

    def improves(self, side: Side, price_ticks: int) -> bool:
        """Return whether the price is better than the best price of this side. O(1)."""
        own, _ = self._sides(side)
        return not own.keys or price_ticks * own.key_sign < own.keys[0]

    def contains(self, order_id: str) -> bool:
        """Return whether the order rests in the book. O(1)."""
        return order_id in self._orders

    def owner(self, order_id: str) -> str | None:
        """Return the client id of a resting order, or None if no such order rests. O(1)."""
        order = self._orders.get(order_id)
        return None if order is None else order.client_id

    def depth(self, levels: int | None = None) -> tuple[list[Level], list[Level]]:
        """Return bids and asks, best level first: all, or `levels` of each.

        O(levels log levels).
        """
        if levels is not None and (type(levels) is not int or levels < 0):
            raise ValueError(f"levels={levels!r}: expected an integer from 0, or None for all")
        return _rows(self._bids, levels), _rows(self._asks, levels)

    def state_hash(self) -> str:
        """Return the SHA-256 hash of the book as text, in hexadecimal. O(orders).

        Two books are equal if and only if their hashes are. The text is in UTF-8, and each line
        ends with a line feed. The first line is `sequence=N`. Then each resting order has a line:
        bids before asks, the best level first, and the oldest order of a level first:

            B|S price_ticks remaining_lots order_id client_id

        B stands for bids and S for asks.
        """
        digest = sha256(f"sequence={self.sequence}\n".encode())
        for letter, own in (("B", self._bids), ("S", self._asks)):
            for level in own.in_order():
                prefix = f"{letter} {level.price_ticks}"
                for order in level:
                    line = f"{prefix} {order.remaining_lots} {order.order_id} {order.client_id}\n"
                    digest.update(line.encode())
        return digest.hexdigest()

    def _sides(self, side: Side) -> tuple[BookSide, BookSide]:
        """Return the side on which an order rests, and the side with which it trades."""
        return (self._bids, self._asks) if side is _BUY else (self._asks, self._bids)


def _rows(side: BookSide, levels: int | None) -> list[Level]:
    rows = (Level(level.price_ticks, level.quantity_lots, level.orders) for level in side.in_order())
    return list(islice(rows, levels))
