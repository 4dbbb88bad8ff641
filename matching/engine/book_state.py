"""The resting and waiting orders of one instrument, and the queries on them.

The modules above it add the commands that change them, and `undo`: see book.py.
"""

from hashlib import sha256
from itertools import islice

from matching.engine.book_side import BookSide
from matching.engine.commands import PlaceOrder, Side, check_integer, check_place_order
from matching.engine.instructions import PLAIN, Instructions
from matching.engine.level import Level, QueuedOrder
from matching.engine.waiting_orders import WaitingCounts, WaitingOrders

_BUY = Side.BUY  # Looking enum members up is slow, so it is done once: see commands.py.


class BookState:
    """All resting and waiting orders of one instrument.

    `sequence` is the number of changes so far, and `last_price_ticks` the price of the last trade,
    or None if there was none.
    """

    __slots__ = ("_asks", "_bids", "_orders", "_waiting", "last_price_ticks", "sequence")

    def __init__(self, *, sequence: int = 0, last_price_ticks: int | None = None) -> None:
        self._bids = BookSide(Side.BUY)
        self._asks = BookSide(Side.SELL)
        self._orders: dict[str, QueuedOrder] = {}  # resting and waiting ones
        self._waiting = WaitingOrders(self._orders)
        if type(sequence) is not int or sequence < 0:
            raise ValueError(f"sequence={sequence!r}: expected an integer from 0")
        if last_price_ticks is not None:
            check_integer("last_price_ticks", last_price_ticks)
        self.sequence = sequence
        self.last_price_ticks = last_price_ticks

    def __del__(self) -> None:
        # Orders refer to their neighbours, and the garbage collector does not track them (see
        # level.py). Without this, a book that is dropped would never free its orders.
        self._bids.unlink()
        self._asks.unlink()
        self._waiting.unlink()

    def restore(self, order: PlaceOrder, remaining_lots: int) -> None:
        """Put a resting order back during recovery. Call this in the time priority of the orders.

        Returns no event and does not change `sequence`. Raises ValueError, before any change, if
        the order is impossible, rests already or would trade: then the loaded orders are not a
        valid book.
        """
        self._check_restored(order)
        check_integer("remaining_lots", remaining_lots)
        if not order.has_limit or remaining_lots > order.quantity_lots:
            raise ValueError(f"order_id={order.order_id!r}: can't rest with {remaining_lots} lots")
        own, opposite = self._sides(order.side)
        price_ticks, best = order.price_ticks, opposite.best_price_ticks
        if best is not None and (best <= price_ticks if order.side is _BUY else best >= price_ticks):
            raise ValueError(f"price_ticks={price_ticks!r}: crosses the other side's best price {best}")
        self._orders[order.order_id] = own.append(order, price_ticks, remaining_lots)

    def restore_waiting(self, order: PlaceOrder, *, is_triggered: bool = False) -> None:
        """Put a waiting or triggered order back during recovery, in the order of their entry.

        Raises ValueError, before any change, if the order is impossible, does not wait for a
        trigger, or is known already.
        """
        self._check_restored(order)
        if not order.waits:
            raise ValueError(f"kind={order.kind!r}: does not wait for a trigger")
        if is_triggered:
            self._waiting.restore_triggered(order)
        else:
            self._waiting.append(order)

    def _check_restored(self, order: PlaceOrder) -> None:
        check_place_order(order)
        if self.contains(order.order_id):
            raise ValueError(f"order_id={order.order_id!r}: is in the book already")

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
        return len(self._orders) - self._waiting.count

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
        """Return whether the order rests or waits. O(1)."""
        return order_id in self._orders

    def find(self, order_id: str) -> PlaceOrder | None:
        """Return a resting or waiting order as it is now, or None. O(1)."""
        queued = self._orders.get(order_id)
        return None if queued is None else queued.order

    def is_waiting(self, order_id: str) -> bool:
        """Return whether the order waits for its trigger, or to enter after it. O(1)."""
        queued = self._orders.get(order_id)
        return queued is not None and queued.level.is_waiting

    @property
    def waiting_count(self) -> int:
        """The number of orders that wait for a trigger, or have been triggered. O(1)."""
        return self._waiting.count

    def waiting_counts(self) -> WaitingCounts:
        """Return the number of these orders by what they wait for. O(levels)."""
        return self._waiting.counts()

    @property
    def next_triggered(self) -> PlaceOrder | None:
        """The triggered order that enters next, or None. O(1)."""
        return next(iter(self._waiting.triggered.values()), None)

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

        B stands for bids and S for asks. Instructions follow, unless they are PLAIN, as numbers of
        their enums: ` time_in_force post_only self_trade_prevention`.

        If orders wait, a line `last=PRICE_TICKS` follows, and a line for each of them, in the order
        of WaitingOrders, with W, or T if it was triggered:

            W|T kind side trigger_price_ticks price_ticks quantity_lots order_id client_id
        """
        digest = sha256(f"sequence={self.sequence}\n".encode())
        for letter, own in (("B", self._bids), ("S", self._asks)):
            for level in own.in_order():
                prefix = f"{letter} {level.price_ticks}"
                for queued in level:
                    order = queued.order
                    line = f"{prefix} {queued.remaining_lots} {order.order_id} {order.client_id}"
                    digest.update(f"{line}{_instructions_text(order.instructions)}\n".encode())
        if self._waiting.count:
            digest.update(f"last={self.last_price_ticks}\n".encode())
        for order in self._waiting:
            letter = "T" if order.order_id in self._waiting.triggered else "W"
            line = (
                f"{letter} {order.kind:d} {order.side:d} {order.trigger_price_ticks} {order.price_ticks} "
                f"{order.quantity_lots} {order.order_id} {order.client_id}"
            )
            digest.update(f"{line}{_instructions_text(order.instructions)}\n".encode())
        return digest.hexdigest()

    def _sides(self, side: Side) -> tuple[BookSide, BookSide]:
        """Return the side on which an order rests, and the side with which it trades."""
        return (self._bids, self._asks) if side is _BUY else (self._asks, self._bids)


def _rows(side: BookSide, levels: int | None) -> list[Level]:
    rows = (Level(level.price_ticks, level.quantity_lots, level.orders) for level in side.in_order())
    return list(islice(rows, levels))


def _instructions_text(instructions: Instructions) -> str:
    if instructions is PLAIN:
        return ""
    return (
        f" {instructions.time_in_force:d} {instructions.post_only:d} {instructions.self_trade_prevention:d}"
    )
