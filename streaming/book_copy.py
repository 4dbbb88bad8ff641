"""A book by level that follows the worker's: what feeds tell their followers.

In ticks and lots; text is made of what is told alone, so that a book of any size is taken at once.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable

from base.numbers import Number, json_number, uncached_units_text
from marketdata.book import Book, BookLevel
from marketdata.checksum import CHECKSUM_LEVELS, levels_checksum
from marketdata.messages import LevelChange, LevelDocument, LevelState
from orders.grid import Grid
from orders.models import Side

LevelKey = tuple[str, int]  # side, price in ticks


class _CopiedSide:
    """One side, with its prices in order: the best one last, where taking it off costs nothing."""

    def __init__(self, *, best_is_highest: bool) -> None:
        self.levels: dict[int, BookLevel] = {}
        self._sign = 1 if best_is_highest else -1
        self._keys: list[int] = []  # ascending: the price in ticks, with the sign of the side

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
        """Best price first; `count` of them, or all."""
        levels, sign = self.levels, self._sign
        return [levels[sign * key] for key in reversed(self._keys[-(count or 0) :])]


class BookCopy:
    """Both sides at one sequence; -1 before there is a book."""

    def __init__(self, grid: Grid) -> None:
        self.sequence = -1
        self._grid = grid
        self._sides = {
            Side.BUY.value: _CopiedSide(best_is_highest=True),
            Side.SELL.value: _CopiedSide(best_is_highest=False),
        }

    def replace(self, book: Book) -> None:
        self._sides[Side.BUY].replace(book.bids)
        self._sides[Side.SELL].replace(book.asks)
        self.sequence = book.sequence

    def apply(self, levels: Iterable[LevelState], sequence: int) -> None:
        """Levels as (side, ticks, lots, orders); those without orders are gone."""
        for side, ticks, lots, orders in levels:
            if orders:
                self._sides[side].set(BookLevel(ticks, int(lots), orders))
            else:
                self._sides[side].remove(ticks)
        self.sequence = sequence

    def known(self, levels: Iterable[LevelState]) -> set[LevelKey]:
        """Which of these levels, as `apply` takes them, have orders now."""
        return {(side, ticks) for side, ticks, _, _ in levels if ticks in self._sides[side].levels}

    @property
    def level_count(self) -> int:
        """Of both sides."""
        return sum(len(side.levels) for side in self._sides.values())

    def levels(self, side: str, count: int | None = None) -> list[BookLevel]:
        """Best price first; `count` levels, or all. The list stays as it is, whatever becomes of the book."""
        return self._sides[side].best(count)

    def documents(self, levels: Iterable[BookLevel]) -> list[LevelDocument]:
        """The same levels as clients see them."""
        return [
            LevelDocument(self._price(level.price_ticks), self._quantity(level.quantity_lots), level.orders)
            for level in levels
        ]

    def levels_text(self, levels: Iterable[BookLevel]) -> str:
        """The same as JSON, as an array has them without its brackets; for many: four times as fast.

        Their texts are not remembered: so many would drive out those that come again and again.
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
        """How a level stands now."""
        side, ticks = key
        level = self._sides[side].levels.get(ticks, BookLevel(ticks, 0, 0))
        return LevelChange(side, self._price(ticks), self._quantity(level.quantity_lots), level.orders)

    def checksum(self) -> int:
        """The checksum that clients prove their books by."""
        bids, asks = (self._sides[side].best(CHECKSUM_LEVELS) for side in (Side.BUY, Side.SELL))
        return levels_checksum(bids, asks, self._grid)

    def _price(self, ticks: int) -> Number:
        return json_number(self._grid.price.text(ticks))

    def _quantity(self, lots: int) -> Number:
        return json_number(self._grid.quantity.text(lots))
