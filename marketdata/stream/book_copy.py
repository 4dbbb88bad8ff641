"""A book by level that follows the worker's: what feeds tell their followers."""

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from marketdata.book import Book
from marketdata.checksum import CHECKSUM_LEVELS, checksum, level_digits
from marketdata.messages import LevelChange, LevelDocument
from orders.grid import Grid
from orders.models import Side
from rest.numbers import json_number

LevelKey = tuple[str, int]  # side, price in ticks


class CopiedLevel(NamedTuple):
    """All orders at one price, as messages show it, and its part of the checksum."""

    price: str
    quantity: str
    orders: int
    digits: str

    def document(self) -> LevelDocument:
        return LevelDocument(json_number(self.price), json_number(self.quantity), self.orders)


class _CopiedSide:
    """One side, with its prices in order."""

    def __init__(self, *, best_is_highest: bool) -> None:
        self.levels: dict[int, CopiedLevel] = {}
        self._ticks: list[int] = []  # ascending
        self._best_is_highest = best_is_highest

    def replace(self, levels: dict[int, CopiedLevel]) -> None:
        self.levels = levels
        self._ticks = sorted(levels)

    def set(self, ticks: int, level: CopiedLevel) -> None:
        if ticks not in self.levels:
            insort(self._ticks, ticks)
        self.levels[ticks] = level

    def remove(self, ticks: int) -> None:
        if self.levels.pop(ticks, None) is not None:
            del self._ticks[bisect_left(self._ticks, ticks)]

    def best(self, count: int | None = None) -> Iterator[CopiedLevel]:
        """Best price first; `count` of them, or all."""
        ticks = self._ticks[-(count or 0) :] if self._best_is_highest else self._ticks[:count]
        if self._best_is_highest:
            ticks.reverse()
        return (self.levels[at] for at in ticks)


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
        for side, levels in ((Side.BUY, book.bids), (Side.SELL, book.asks)):
            self._sides[side].replace({level.price_ticks: self._level(*level) for level in levels})
        self.sequence = book.sequence

    def apply(self, levels: Iterable[tuple[str, int, int, int]], sequence: int) -> None:
        """Levels as (side, ticks, lots, orders); those without orders are gone."""
        for side, ticks, lots, orders in levels:
            if orders:
                self._sides[side].set(ticks, self._level(ticks, lots, orders))
            else:
                self._sides[side].remove(ticks)
        self.sequence = sequence

    def best(self, side: str, count: int | None = None) -> list[CopiedLevel]:
        return list(self._sides[side].best(count))

    def documents(self, side: str, count: int | None = None) -> list[LevelDocument]:
        return [level.document() for level in self._sides[side].best(count)]

    def change(self, key: LevelKey) -> LevelChange:
        """How a level stands now."""
        side, ticks = key
        level = self._sides[side].levels.get(ticks)
        if level is None:
            return LevelChange(side, json_number(self._grid.price.text(ticks)), json_number("0"), 0)
        return LevelChange(side, json_number(level.price), json_number(level.quantity), level.orders)

    def checksum(self) -> int:
        asks, bids = (
            (level.digits for level in self._sides[side].best(CHECKSUM_LEVELS))
            for side in (Side.SELL, Side.BUY)
        )
        return checksum(asks, bids)

    def _level(self, ticks: int, lots: int, orders: int) -> CopiedLevel:
        price, quantity = self._grid.price.text(ticks), self._grid.quantity.text(lots)
        return CopiedLevel(price, quantity, orders, level_digits(price, quantity))
