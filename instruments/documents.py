"""Instruments as clients see them."""

from typing import Annotated

import msgspec

from base.documents import Number, described, one_of
from base.numbers import json_decimal, json_optional_decimal
from instruments.choices import OrderType, SelfTradePrevention, TimeInForce
from instruments.directory import TradedInstrument
from instruments.models import Instrument


class InstrumentDocument(msgspec.Struct, kw_only=True):
    """An instrument with its grid and its limits."""

    symbol: str
    base_asset: str
    quote_asset: str
    tick_size: Number
    lot_size: Number
    min_quantity: Number
    max_quantity: Number
    min_price: Number
    max_price: Number
    min_notional: Annotated[
        Number | None,
        described(description="the minimum price * quantity of a limit order, or null for no minimum"),
    ]
    open_orders_max: Annotated[
        int, msgspec.Meta(ge=1), described(description="the maximum number of resting orders of one client")
    ]
    order_types: list[Annotated[str, one_of(OrderType.values)]]
    times_in_force: list[Annotated[str, one_of(TimeInForce.values)]]
    self_trade_prevention: Annotated[
        str,
        described(
            enum=SelfTradePrevention.values,
            description="the self-trade prevention of orders that do not name one",
        ),
    ]
    status: Annotated[str, one_of(Instrument.Status.values)]


def instrument_document(instrument: TradedInstrument) -> InstrumentDocument:
    base_asset, _, quote_asset = instrument.symbol.partition("-")
    return InstrumentDocument(
        symbol=instrument.symbol,
        base_asset=base_asset,
        quote_asset=quote_asset,
        tick_size=json_decimal(instrument.grid.price.size),
        lot_size=json_decimal(instrument.grid.quantity.size),
        min_quantity=json_decimal(instrument.min_quantity),
        max_quantity=json_decimal(instrument.max_quantity),
        min_price=json_decimal(instrument.min_price),
        max_price=json_decimal(instrument.max_price),
        min_notional=json_optional_decimal(instrument.min_notional),
        open_orders_max=instrument.open_orders_max,
        order_types=OrderType.values,
        times_in_force=TimeInForce.values,
        self_trade_prevention=instrument.self_trade_prevention,
        status=Instrument.Status.HALTED if instrument.halted else Instrument.Status.ACTIVE,
    )
