"""The OpenAPI description of the view of instruments."""

from typing import Any

from instruments.choices import OrderType, TimeInForce
from instruments.directory import DEFAULT_SYMBOL
from instruments.documents import InstrumentDocument
from instruments.refusals import InstrumentHalted
from web.schema import (
    MARKET_TAG,
    RETRY_AFTER,
    ErrorExample,
    answer,
    describe_errors,
    errors,
    page,
    query,
    sent,
)

INSTRUMENT_NOT_FOUND = "instrument_not_found"
INSTRUMENT_HALTED = "instrument_halted"

describe_errors(
    {
        INSTRUMENT_NOT_FOUND: ErrorExample(
            404, "No instrument has this symbol: 'NO-USD'. GET /instruments lists them."
        ),
        INSTRUMENT_HALTED: ErrorExample(409, InstrumentHalted.default_message),
    }
)

SYMBOL_EXAMPLES = sent(DEFAULT_SYMBOL, DEFAULT_SYMBOL, 200), sent("unknown", "NO-USD", 404)
# `instrument` in a query about the market.
INSTRUMENT_PARAMETER = query(
    "instrument", {"type": "string", "default": DEFAULT_SYMBOL}, "the symbol", *SYMBOL_EXAMPLES
)

_INSTRUMENT_EXAMPLE = {
    "symbol": "BTC-USD",
    "base_asset": "BTC",
    "quote_asset": "USD",
    "tick_size": 0.01,
    "lot_size": 0.00000001,
    "min_quantity": 0.00000001,
    "max_quantity": 10000,
    "min_price": 0.01,
    "max_price": 10000000,
    "min_notional": None,
    "open_orders_max": 10000,
    "order_types": OrderType.values,
    "times_in_force": TimeInForce.values,
    "self_trade_prevention": "none",
    "status": "active",
}

LIST_INSTRUMENTS: dict[str, Any] = {
    "operation_id": "list_instruments",
    "summary": "List the instruments",
    "tags": [MARKET_TAG],
    "parameters": [RETRY_AFTER],
    "responses": {
        200: answer(
            page("instruments", InstrumentDocument),
            "by symbol",
            {"instruments": [_INSTRUMENT_EXAMPLE], "next_cursor": None},
        ),
        **errors("no_parameters"),
    },
}
