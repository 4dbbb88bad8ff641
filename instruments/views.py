"""The REST view of instruments."""

from rest_framework.request import Request

from base.numbers import json_decimal, json_optional_decimal
from instruments import schema
from instruments.directory import directory
from web.content import JSONResponse
from web.schema import operation
from web.viewset import AsyncViewSet


class InstrumentViewSet(AsyncViewSet):
    """The instruments of the exchange."""

    @operation(**schema.LIST_INSTRUMENTS)
    async def list(self, request: Request) -> JSONResponse:
        """All instruments with their grids and limits."""
        instruments = (await directory.all()).values()
        return JSONResponse(
            {
                "instruments": [
                    {
                        "symbol": instrument.symbol,
                        "tick_size": json_decimal(instrument.grid.price.size),
                        "lot_size": json_decimal(instrument.grid.quantity.size),
                        "min_quantity": json_decimal(instrument.min_quantity),
                        "max_quantity": json_decimal(instrument.max_quantity),
                        "min_price": json_decimal(instrument.min_price),
                        "max_price": json_decimal(instrument.max_price),
                        "min_notional": json_optional_decimal(instrument.min_notional),
                        "open_orders_max": instrument.open_orders_max,
                        "status": "halted" if instrument.halted else "active",
                    }
                    for instrument in sorted(instruments, key=lambda instrument: instrument.symbol)
                ],
                "next_cursor": None,
            }
        )
