"""The orders, amends and switches that chaos sends: every type and instruction, seeded.

Prices are on few levels, so that a snapshot shows a whole book. Enough orders rest for cancels.
"""

from datetime import UTC, datetime, timedelta
from random import Random

from base.times import time_text

MIDDLE_PRICES = {"BTC-USD": 70_000, "ETH-USD": 3_500}
QUANTITY_MAX = 9
_LEVELS_AWAY = 20  # Greatest distance from the middle on an order's own side.
_LEVELS_ACROSS = 5  # Greatest distance on the other side, at which orders trade.
_MARKET_SHARE = 0.15
_TRIGGER_SHARE = 0.15
_TRIGGER_TYPES = ("stop", "take_profit", "stop_limit", "take_profit_limit")
_PREVENTIONS = ("none", "cancel_taker", "cancel_maker", "cancel_both", "decrement")
_PREVENTION_SHARE = 0.3
# An order that is retried must not have expired before the exchange has taken it.
_EXPIRY_SECONDS = (90, 150)

Document = dict[str, str | int | bool]


def new_order(random: Random, client_id: str, key: str | None) -> Document:
    """Return the document of a new order."""
    instrument = random.choice(tuple(MIDDLE_PRICES))
    side = random.choice(("buy", "sell"))
    order: Document = {
        "client_id": client_id,
        "instrument": instrument,
        "side": side,
        "quantity": random.randint(1, QUANTITY_MAX),
    }
    if key is not None:
        order["idempotency_key"] = key
    if random.random() < _PREVENTION_SHARE:
        order["self_trade_prevention"] = random.choice(_PREVENTIONS)
    draw = random.random()
    if draw < _MARKET_SHARE:
        return order | {"type": "market"}
    if draw > 1 - _TRIGGER_SHARE:
        return order | _trigger(random, instrument, side)
    return order | {"type": "limit", "price": price(random, instrument, side)} | _terms(random)


def price(random: Random, instrument: str, side: str) -> int:
    """Return a limit price, which may trade at once."""
    distance = random.randint(-_LEVELS_AWAY, _LEVELS_ACROSS)
    return MIDDLE_PRICES[instrument] + (distance if side == "buy" else -distance)


def _trigger(random: Random, instrument: str, side: str) -> Document:
    order_type = random.choice(_TRIGGER_TYPES)
    away = random.randint(1, _LEVELS_ACROSS)
    is_above = order_type.startswith("stop") == (side == "buy")
    order: Document = {
        "type": order_type,
        "trigger_price": MIDDLE_PRICES[instrument] + (away if is_above else -away),
    }
    if order_type.endswith("limit"):
        order["price"] = price(random, instrument, side)
    return order


def _terms(random: Random) -> Document:
    """Return the time in force of a limit order, or post-only. Half of the orders have none."""
    match random.randrange(10):
        case 0:
            return {"time_in_force": "ioc"}
        case 1:
            return {"time_in_force": "fok"}
        case 2 | 3:
            seconds = random.randint(*_EXPIRY_SECONDS)
            expires_at = datetime.now(UTC) + timedelta(seconds=seconds)
            return {"time_in_force": "gtd", "expires_at": time_text(expires_at)}
        case 4:
            return {"post_only": True}
        case _:
            return {}
