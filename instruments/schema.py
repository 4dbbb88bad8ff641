"""The OpenAPI description of the view of instruments."""

from typing import Any

from instruments.models import Instrument
from instruments.refusals import InstrumentHalted
from web.schema import (
    MARKET_TAG,
    NUMBER,
    RETRY_AFTER,
    TEXT,
    ErrorExample,
    answer,
    choice,
    describe_errors,
    errors,
    nullable,
    page,
    record,
    reference,
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

INSTRUMENT = record(
    {
        "symbol": TEXT,
        "tick_size": NUMBER,
        "lot_size": NUMBER,
        "min_quantity": NUMBER,
        "max_quantity": NUMBER,
        "min_price": NUMBER,
        "max_price": NUMBER,
        "min_notional": {
            **nullable(NUMBER),
            "description": "the minimum price * quantity of a limit order, or null for no minimum",
        },
        "open_orders_max": {
            "type": "integer",
            "minimum": 1,
            "description": "the maximum number of resting orders of one client",
        },
        "status": choice(Instrument.Status.values),
    }
)

_INSTRUMENT_EXAMPLE = {
    "symbol": "BTC-USD",
    "tick_size": 0.01,
    "lot_size": 0.00000001,
    "min_quantity": 0.00000001,
    "max_quantity": 10000,
    "min_price": 0.01,
    "max_price": 10000000,
    "min_notional": None,
    "open_orders_max": 10000,
    "status": "active",
}

LIST_INSTRUMENTS: dict[str, Any] = {
    "operation_id": "list_instruments",
    "summary": "List the instruments",
    "tags": [MARKET_TAG],
    "parameters": [RETRY_AFTER],
    "responses": {
        200: answer(
            page("instruments", reference("Instrument")),
            "by symbol",
            {"instruments": [_INSTRUMENT_EXAMPLE], "next_cursor": None},
        ),
        **errors("no_parameters"),
    },
}
