"""A copy of the worker's book by price level, from which a feed serves its followers.

The copy is in ticks and lots. Only levels that are sent become text, so that even a large book is
copied quickly.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable

from base.documents import Number
from base.numbers import json_number, uncached_units_text
from instruments.grid import Grid
from marketdata.book import Book, BookLevel
from marketdata.checksum import CHECKSUM_LEVELS, levels_checksum
from marketdata.documents import LevelTotal
from marketdata.messages import LevelChange, LevelState
from orders.models import OrderSide

LevelKey = tuple[str, int]  # side, price in ticks


class _CopiedSide:
    """One side, with its prices in order. The best one is last, where removing it is cheapest."""

    def __init__(self, *, best_is_highest: bool) -> None:
        self.levels: dict[int, BookLevel] = {}
        self._sign = 1 if best_is_highest else -1
        self._keys: list[int] = []  # ascending: prices in ticks, with the sign of the side

    def replace(self, levels: Iterable[BookLevel]) -> None:
        self.levels = {level.price_ticks: level for level in levels}
        self._keys = sorted(self._sign * ticks for ticks in self.levels)

    def set(self, level: BookLevel) -> None:
        if level.price_ticks not in self.levels:
            insort(self._keys, self._sign * level.price_ticks)
        self.levels[level.price_ticks] = level

    def remove(self, ticks: int) -> None:
        if self.levels.pop(ticks, None) is not None:
            del self._keys[bisect_left(self._keys, self._sign * ticks)]

    def best(self, count: int | None = None) -> list[BookLevel]:
        """Return `count` levels, or all, best price first."""
        levels, sign = self.levels, self._sign
        return [levels[sign * key] for key in reversed(self._keys[-(count or 0) :])]


class BookCopy:
    """Both sides of a book at one sequence. `sequence` is -1 until a book was read."""

    def __init__(self, grid: Grid) -> None:
        self.sequence = -1
        self._grid = grid
        self._sides = {
            OrderSide.BUY.value: _CopiedSide(best_is_highest=True),
            OrderSide.SELL.value: _CopiedSide(best_is_highest=False),
        }

    def replace(self, book: Book) -> None:
        self._sides[OrderSide.BUY].replace(book.bids)
        self._sides[OrderSide.SELL].replace(book.asks)
        self.sequence = book.sequence

    def apply(self, levels: Iterable[LevelState], sequence: int) -> None:
        """Apply changed levels, given as (side, ticks, lots, orders).

        Levels with 0 orders are removed.
        """
        for side, ticks, lots, orders in levels:
            if orders:
                self._sides[side].set(BookLevel(ticks, int(lots), orders))
            else:
                self._sides[side].remove(ticks)
        self.sequence = sequence

    def known(self, levels: Iterable[LevelState]) -> set[LevelKey]:
        """Return the keys of the given levels that the copy has. `levels` is as for `apply`."""
        return {(side, ticks) for side, ticks, _, _ in levels if ticks in self._sides[side].levels}

    @property
    def level_count(self) -> int:
        """The number of levels on both sides."""
        return sum(len(side.levels) for side in self._sides.values())

    def levels(self, side: str, count: int | None = None) -> list[BookLevel]:
        """Return `count` levels of a side, or all, best price first.

        Later changes don't affect the list.
        """
        return self._sides[side].best(count)

    def best(self) -> tuple[list[BookLevel], ...]:
        """Return the best level of the bids and of the asks, each in a list that may be empty."""
        return tuple(self.levels(side, 1) for side in (OrderSide.BUY, OrderSide.SELL))

    def documents(self, levels: Iterable[BookLevel]) -> list[LevelTotal]:
        """Return levels as documents for clients."""
        return [
            LevelTotal(self._price(level.price_ticks), self._quantity(level.quantity_lots), level.orders)
            for level in levels
        ]

    def levels_text(self, levels: Iterable[BookLevel]) -> str:
        """Return levels as the content of a JSON array, without its brackets.

        For many levels this is four times as fast as `documents`. It does not use the cache of
        number texts, because a large book would displace the common numbers.
        """
        price, quantity, text = self._grid.price, self._grid.quantity, uncached_units_text
        price_units, price_decimals = price.units_per_step, price.decimals
        quantity_units, quantity_decimals = quantity.units_per_step, quantity.decimals
        return ",".join(
            [
                f'{{"price":{text(ticks * price_units, price_decimals)},'
                f'"quantity":{text(lots * quantity_units, quantity_decimals)},"orders":{orders}}}'
                for ticks, lots, orders in levels
            ]
        )

    def change(self, key: LevelKey) -> LevelChange:
        """Return the current total of a level."""
        side, ticks = key
        level = self._sides[side].levels.get(ticks, BookLevel(ticks, 0, 0))
        return LevelChange(side, self._price(ticks), self._quantity(level.quantity_lots), level.orders)

    def checksum(self) -> int:
        """Return the checksum with which clients verify their books."""
        bids, asks = (self._sides[side].best(CHECKSUM_LEVELS) for side in (OrderSide.BUY, OrderSide.SELL))
        return levels_checksum(bids, asks, self._grid)

    def _price(self, ticks: int) -> Number:
        return json_number(self._grid.price.text(ticks))

    def _quantity(self, lots: int) -> Number:
        return json_number(self._grid.quantity.text(lots))
