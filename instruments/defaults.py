"""The instruments that a new exchange starts with."""

from decimal import Decimal

from instruments.models import Instrument

DEFAULT_INSTRUMENTS = {
    "BTC-USD": {
        "tick_size": "0.01",
        "lot_size": "0.00000001",
        "max_quantity": "10000",
        "max_price": "10000000",
    },
    "ETH-USD": {
        "tick_size": "0.01",
        "lot_size": "0.00000001",
        "max_quantity": "100000",
        "max_price": "1000000",
    },
    "SOL-USD": {
        "tick_size": "0.001",
        "lot_size": "0.000001",
        "max_quantity": "1000000",
        "max_price": "100000",
    },
}


def load_default_instruments() -> int:
    """Create the missing default instruments. Returns how many were created."""
    created = 0
    for symbol, limits in DEFAULT_INSTRUMENTS.items():
        values = {name: Decimal(value) for name, value in limits.items()}
        values["min_quantity"] = values["lot_size"]
        values["min_price"] = values["tick_size"]
        created += Instrument.objects.get_or_create(symbol=symbol, defaults=values)[1]
    return created
