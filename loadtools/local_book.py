"""A client's own copy of an order book, from a snapshot and the deltas after it."""

import heapq
import zlib
from decimal import Decimal
from typing import Any

_CHECKSUM_LEVELS = 10


class LocalBookError(ValueError):
    """A message does not fit the local book, or its checksum is not the local book's."""


class LocalBook:
    """The book of one instrument. Messages have decimals as `Decimal` or `int`.

    `tick_size` and `lot_size` of the instrument give the number of decimals in its checksum. The
    defaults are those of BTC-USD and ETH-USD.
    """

    def __init__(self, snapshot: Any, *, tick_size: str = "0.01", lot_size: str = "0.00000001") -> None:
        """Begin with a snapshot. Check it if it has a checksum. Raises LocalBookError."""
        self.sequence: int = snapshot["sequence"]
        self._price_step = _last_decimal(tick_size)
        self._quantity_step = _last_decimal(lot_size)
        self._sides: dict[str, dict[Any, tuple[Any, int]]] = {
            side: {level["price"]: (level["quantity"], level["orders"]) for level in snapshot[name]}
            for side, name in (("buy", "bids"), ("sell", "asks"))
        }
        if "checksum" in snapshot:
            self._verify(snapshot["checksum"])

    def apply(self, delta: Any) -> None:
        """Apply a delta. Raises LocalBookError if it does not continue the book."""
        previous, sequence = delta["previous_sequence"], delta["sequence"]
        if delta["type"] != "orderbook_delta" or not previous == self.sequence < sequence:
            raise LocalBookError(
                f"{delta['type']} from {previous} to {sequence} does not continue {self.sequence}"
            )
        self.sequence = sequence
        for change in delta["changes"]:
            levels = self._sides[change["side"]]
            if (change["quantity"] == 0) != (change["orders"] == 0):
                raise LocalBookError(
                    f"a level of {change['orders']} orders has the quantity {change['quantity']}"
                )
            if change["orders"]:
                levels[change["price"]] = (change["quantity"], change["orders"])
            else:
                levels.pop(change["price"], None)
        self._verify(delta["checksum"])

    def checksum(self) -> int:
        """Return the CRC-32 of the best levels, as docs/api.md describes it."""
        bids, asks = self._sides["buy"], self._sides["sell"]
        best = [(price, asks[price]) for price in heapq.nsmallest(_CHECKSUM_LEVELS, asks)]
        best += [(price, bids[price]) for price in heapq.nlargest(_CHECKSUM_LEVELS, bids)]
        return zlib.crc32(
            "".join(
                format(Decimal(number).quantize(step), "f").replace(".", "").lstrip("0")
                for price, (quantity, _) in best
                for number, step in ((price, self._price_step), (quantity, self._quantity_step))
            ).encode()
        )

    def levels(self) -> tuple[list[tuple[Any, Any, int]], list[tuple[Any, Any, int]]]:
        """Return bids and asks as (price, quantity, orders), the best first."""
        bids, asks = (
            sorted((price, *level) for price, level in self._sides[side].items()) for side in ("buy", "sell")
        )
        return bids[::-1], asks

    def _verify(self, checksum: int) -> None:
        if self.checksum() != checksum:
            raise LocalBookError(f"a wrong checksum at sequence {self.sequence}")


def _last_decimal(size: str) -> Decimal:
    """Return one unit of the last decimal of a tick or lot size: 0.01 of 0.05, 1 of 5 and of 10."""
    return Decimal(1).scaleb(min(0, int(Decimal(size).normalize().as_tuple().exponent)))
