"""Translates orders from the exchange's words into the engine's commands."""

from functools import cache

from instruments.choices import OrderType, SelfTradePrevention, TimeInForce
from matching import engine
from orders.models import OrderSide

SIDES = {OrderSide.BUY.value: engine.Side.BUY, OrderSide.SELL.value: engine.Side.SELL}
_KINDS = {order_type.value: engine.OrderKind[order_type.name] for order_type in OrderType}
_PREVENTIONS = {mode.value: engine.SelfTradePrevention[mode.name] for mode in SelfTradePrevention}
_TIMES_IN_FORCE = {time.value: engine.TimeInForce[time.name] for time in TimeInForce}


def place_order(
    *,
    order_id: str,
    client_id: str,
    side: str,
    order_type: str,
    price_ticks: int,
    quantity_lots: int,
    time_in_force: str,
    post_only: bool,
    self_trade_prevention: str,
    trigger_price_ticks: int,
) -> engine.PlaceOrder:
    """Return the engine's order. Prices are 0 if the order has none."""
    kind, instructions = _kind_and_instructions(order_type, time_in_force, post_only, self_trade_prevention)
    return engine.PlaceOrder(
        order_id,
        client_id,
        SIDES[side],
        kind,
        price_ticks,
        quantity_lots,
        instructions,
        trigger_price_ticks,
    )


@cache
def _kind_and_instructions(
    order_type: str, time_in_force: str, post_only: bool, self_trade_prevention: str
) -> tuple[engine.OrderKind, engine.Instructions]:
    """Return the engine's kind and instructions.

    For the engine, a market order has no time in force but FOK.
    The texts are the cache's key, because the hash of an enum's member is slow.
    """
    kind, time = _KINDS[order_type], _TIMES_IN_FORCE[time_in_force]
    if time is engine.TimeInForce.IOC and kind not in engine.LIMIT_KINDS:
        time = engine.TimeInForce.GTC
    return kind, engine.instructions_of(time, post_only, _PREVENTIONS[self_trade_prevention])
