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
    """Create the missing default instruments. Returns how many were missing."""
    present = set(Instrument.objects.filter(symbol__in=DEFAULT_INSTRUMENTS).values_list("symbol", flat=True))
    missing = []
    for symbol, values in DEFAULT_INSTRUMENTS.items():
        if symbol in present:
            continue
        limits = {name: Decimal(value) for name, value in values.items()}
        missing.append(
            Instrument(
                symbol=symbol,
                min_quantity=limits["lot_size"],
                min_price=limits["tick_size"],
                **limits,
            )
        )
    Instrument.objects.bulk_create(missing, ignore_conflicts=True)  # another process may create them, too
    return len(missing)
