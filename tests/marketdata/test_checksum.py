"""The checksum of books: Kraken's own example, and how decimals and scales enter it."""

from decimal import Decimal
from zlib import crc32

import pytest

from instruments.grid import Grid
from marketdata.book import Book, BookLevel
from marketdata.checksum import levels_checksum
from streaming.book_copy import BookCopy

# The example of https://docs.kraken.com/api/docs/guides/spot-ws-book-v2. There, BTC/USD has
# 1 decimal in prices and 8 decimals in quantities.
KRAKEN_CHECKSUM = 3310070434
KRAKEN_ASKS = (
    ("45285.2", "0.00100000"),
    ("45286.4", "1.54571953"),
    ("45286.6", "1.54571109"),
    ("45289.6", "1.54560911"),
    ("45290.2", "0.15890660"),
    ("45291.8", "1.54553491"),
    ("45294.7", "0.04454749"),
    ("45296.1", "0.35380000"),
    ("45297.5", "0.09945542"),
    ("45299.5", "0.18772827"),
)
KRAKEN_BIDS = (
    ("45283.5", "0.10000000"),
    ("45283.4", "1.54582015"),
    ("45282.1", "0.10000000"),
    ("45281.0", "0.10000000"),
    ("45280.3", "1.54592586"),
    ("45279.0", "0.07990000"),
    ("45277.6", "0.03310103"),
    ("45277.5", "0.30000000"),
    ("45277.3", "1.54602737"),
    ("45276.6", "0.15445238"),
)


def levels(rows: tuple[tuple[str, str], ...], grid: Grid) -> list[BookLevel]:
    return [
        BookLevel(grid.price.steps(Decimal(price)), grid.quantity.steps(Decimal(quantity)), 1)
        for price, quantity in rows
    ]


@pytest.mark.parametrize(("tick", "lot"), [("0.1", "0.00000001"), ("0.10", "0.000000010")])
def test_krakens_example_has_its_checksum(tick: str, lot: str) -> None:
    grid = Grid.of(Decimal(tick), Decimal(lot))
    bids, asks = levels(KRAKEN_BIDS, grid), levels(KRAKEN_ASKS, grid)
    assert levels_checksum(bids, asks, grid) == KRAKEN_CHECKSUM
    copy = BookCopy(grid)
    # The checksum leaves out the eleventh level.
    copy.replace(Book(1, [*bids, BookLevel(1, 1, 1)], [*asks, BookLevel(10**9, 1, 1)]))
    assert copy.checksum() == KRAKEN_CHECKSUM


@pytest.mark.parametrize(
    ("tick", "lot", "price", "quantity", "digits"),
    [
        ("0.01", "0.1", "15", "3", "150030"),
        ("0.01", "0.1", "15", "0.3", "15003"),
        ("0.01", "0.1", "1.5", "3", "15030"),
        ("0.5", "1", "15", "3", "1503"),
        ("0.5", "1", "15.5", "3", "1553"),
        ("5", "1", "15", "3", "153"),
        ("10", "100", "10", "100", "10100"),
        ("0.05", "2.5", "0.05", "2.5", "525"),
        ("0.00000001", "0.00000001", "0.00000001", "0.00000001", "11"),
        ("0.00000001", "0.000000000001", "1", "1", "1000000001000000000000"),
    ],
)
def test_the_checksum_writes_numbers_with_the_decimals_of_their_grid(
    tick: str, lot: str, price: str, quantity: str, digits: str
) -> None:
    grid = Grid.of(Decimal(tick), Decimal(lot))
    side = levels(((price, quantity),), grid)
    assert levels_checksum(side, [], grid) == levels_checksum([], side, grid) == crc32(digits.encode())


def test_an_empty_book_has_the_checksum_zero() -> None:
    assert levels_checksum([], [], Grid.of(Decimal(1), Decimal(1))) == 0
