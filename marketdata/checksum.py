"""The checksum with which clients of /stream verify their books.

The procedure is that of Kraken's WebSocket API v2: the CRC-32 (of zlib and IEEE 802.3) of an
ASCII text, with first the best CHECKSUM_LEVELS asks, then as many bids, each side from its best
price on. The text of a level is its price with all decimals of the tick size, then its quantity
with all decimals of the lot size, both without the decimal point and without leading zeros. With a
tick size of 0.01 and a lot size of 0.0001, a price of 70150.5 and a quantity of 0.01 are `7015050`
and `100`.

These digits are the value as an integer, in units of the last decimal, so they are computed without
editing text. Source: https://docs.kraken.com/api/docs/guides/spot-ws-book-v2
"""

from collections.abc import Iterable
from typing import Protocol
from zlib import crc32

from instruments.grid import Grid

CHECKSUM_LEVELS = 10  # of each side


class PricedLevel(Protocol):
    """The total of all orders at one price, in ticks and lots."""

    @property
    def price_ticks(self) -> int: ...

    @property
    def quantity_lots(self) -> int: ...


def levels_checksum(bids: Iterable[PricedLevel], asks: Iterable[PricedLevel], grid: Grid) -> int:
    """Return the checksum of a book.

    `bids` and `asks` are its best levels, at most CHECKSUM_LEVELS of each side, best first.
    """
    price_units, quantity_units = grid.price.units_per_step, grid.quantity.units_per_step
    digits = [
        f"{level.price_ticks * price_units}{level.quantity_lots * quantity_units}"
        for levels in (asks, bids)
        for level in levels
    ]
    return crc32("".join(digits).encode())
