"""What clients may choose for an order. Each instrument says what it supports."""

from django.db import models


class OrderType(models.TextChoices):
    LIMIT = "limit"
    MARKET = "market"
    STOP = "stop"
    TAKE_PROFIT = "take_profit"
    STOP_LIMIT = "stop_limit"
    TAKE_PROFIT_LIMIT = "take_profit_limit"


LIMIT_TYPES = (OrderType.LIMIT, OrderType.STOP_LIMIT, OrderType.TAKE_PROFIT_LIMIT)
"""The types with a price. Their orders may rest."""
TRIGGER_TYPES = (
    OrderType.STOP,
    OrderType.TAKE_PROFIT,
    OrderType.STOP_LIMIT,
    OrderType.TAKE_PROFIT_LIMIT,
)
"""The types with a trigger price. Their orders wait until a trade meets it."""


class TimeInForce(models.TextChoices):
    GTC = "gtc", "good till cancelled"
    IOC = "ioc", "immediate or cancel"
    FOK = "fok", "fill or kill"
    GTD = "gtd", "good till date"


class SelfTradePrevention(models.TextChoices):
    """What happens if an incoming order, the taker, meets an order of the same client."""

    NONE = "none"
    CANCEL_TAKER = "cancel_taker"
    CANCEL_MAKER = "cancel_maker"
    CANCEL_BOTH = "cancel_both"
    DECREMENT = "decrement"
