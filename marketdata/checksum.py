"""The checksum by which a client of /stream proves its book, as Kraken's WebSocket API v2 has it.

CRC-32 (that of zlib and of IEEE 802.3) over the ASCII text of the best CHECKSUM_LEVELS asks, then of as many bids,
each side from its best price on: for every level its price and then its quantity, both as they stand in the
messages, without the point and without leading zeros. A price of 70150.5 with a quantity of 0.01 is `7015051`.
Source of the procedure: https://docs.kraken.com/api/docs/guides/spot-ws-book-v2
"""

from collections.abc import Iterable
from typing import Protocol
from zlib import crc32

from orders.grid import Grid

CHECKSUM_LEVELS = 10  # of each side


class PricedLevel(Protocol):
    """All orders at one price, in ticks and lots."""

    @property
    def price_ticks(self) -> int: ...

    @property
    def quantity_lots(self) -> int: ...


def level_digits(price: str, quantity: str) -> str:
    """A level's part of the text, from its plain decimals."""
    return price.replace(".", "").lstrip("0") + quantity.replace(".", "").lstrip("0")


def checksum(asks: Iterable[str], bids: Iterable[str]) -> int:
    """From the digits of the best levels of each side, best first."""
    return crc32("".join((*asks, *bids)).encode())


def levels_checksum(bids: Iterable[PricedLevel], asks: Iterable[PricedLevel], grid: Grid) -> int:
    """The same of the best levels in ticks and lots."""
    best_asks, best_bids = (
        (
            level_digits(grid.price.text(level.price_ticks), grid.quantity.text(level.quantity_lots))
            for level in levels
        )
        for levels in (asks, bids)
    )
    return checksum(best_asks, best_bids)
