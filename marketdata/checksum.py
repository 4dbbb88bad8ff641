"""The checksum by which a client of /stream proves its book, exactly as Kraken's WebSocket API v2 has it.

CRC-32 (that of zlib and of IEEE 802.3) over the ASCII text of the best CHECKSUM_LEVELS asks, then of as many bids,
each side from its best price on. Each level contributes its price with all decimals of the tick size and then its
quantity with all decimals of the lot size, both without the point and without leading zeros. With a tick size of
0.01 and a lot size of 0.0001, a price of 70150.5 with a quantity of 0.01 is `7015050` + `100`.

Those digits are a whole number: the value in units of the last decimal. So no text is cut to make them.
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


def levels_checksum(bids: Iterable[PricedLevel], asks: Iterable[PricedLevel], grid: Grid) -> int:
    """The checksum of a book from its best levels of each side, at most CHECKSUM_LEVELS, best first."""
    price_units, quantity_units = grid.price.units_per_step, grid.quantity.units_per_step
    digits = [
        f"{level.price_ticks * price_units}{level.quantity_lots * quantity_units}"
        for levels in (asks, bids)
        for level in levels
    ]
    return crc32("".join(digits).encode())
