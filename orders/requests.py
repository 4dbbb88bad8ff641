"""A validated request to place an order, its conversion to ticks and lots, and its terms."""

from decimal import Decimal
from hashlib import blake2b

import msgspec

from base.numbers import EXACT, decimal_text
from base.refusals import InvalidRequest
from instruments.directory import TradedInstrument
from instruments.grid import OffGrid
from orders.refusals import BeyondLimits

_normalize = EXACT.normalize


class OrderRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request to place an order, with valid fields and the defaults filled in."""

    client_id: str
    instrument: TradedInstrument
    side: str
    order_type: str
    price: Decimal | None = None
    quantity: Decimal
    idempotency_key: str | None = None

    @property
    def terms(self) -> int:
        """A hash of what the client asks for. A retry has the same terms as the first request.

        It covers every field but the client and the key. A field that is added later joins the text
        only if it is not at its default, so the terms of requests without it do not change. Equal
        numbers give the same terms. The hash has 64 bits, as a bigint of PostgreSQL. Only requests
        with the same key are compared.
        """
        stated = f"{self.instrument.instrument_id} {self.side} {self.order_type} {_normalize(self.quantity)}"
        if self.price is not None:
            stated += f" price={_normalize(self.price)}"
        return int.from_bytes(blake2b(stated.encode(), digest_size=8).digest(), signed=True)

    def to_grid(self) -> tuple[int, int]:
        """Return price_ticks, which is 0 without a price, and quantity_lots.

        Raises InvalidRequest if a value is off the grid, BeyondLimits if the values are outside the
        instrument's limits.
        """
        instrument, price, quantity = self.instrument, self.price, self.quantity
        fields: dict[str, list[str]] = {}
        price_ticks = quantity_lots = 0
        off_grid = False
        grid = instrument.grid
        if price is not None:
            try:
                _check_limits(price, instrument.min_price, instrument.max_price)
                price_ticks = grid.price.steps(price)
            except ValueError as error:
                fields["price"] = [str(error)]
                off_grid = isinstance(error, OffGrid)
        try:
            _check_limits(quantity, instrument.min_quantity, instrument.max_quantity)
            quantity_lots = grid.quantity.steps(quantity)
        except ValueError as error:
            fields["quantity"] = [str(error)]
            off_grid = off_grid or isinstance(error, OffGrid)
        if fields:
            refusal = InvalidRequest if off_grid else BeyondLimits
            raise refusal(fields=fields)
        if price is not None and instrument.min_notional is not None:
            notional = EXACT.multiply(price, quantity)
            if notional < instrument.min_notional:
                raise BeyondLimits(
                    fields={
                        "quantity": [
                            f"price * quantity must be at least {decimal_text(instrument.min_notional)}, "
                            f"but is {decimal_text(notional)}."
                        ]
                    }
                )
        return price_ticks, quantity_lots


def _check_limits(value: Decimal, least: Decimal, greatest: Decimal) -> None:
    """Raises ValueError with a message for the client."""
    if value < least:
        raise ValueError(f"Must be at least {decimal_text(least)}.")
    if value > greatest:
        raise ValueError(f"Must be at most {decimal_text(greatest)}.")
