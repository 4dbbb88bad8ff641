"""Attacks by orders and cancels."""

import asyncio
import itertools
import json
import uuid
from typing import Any

from chaos.strangers.crowd import ask_on, gather_crowd, repeat_request
from chaos.strangers.stage import Stage
from loadtools.wire import encode_post


def _order(stage: Stage, **fields: Any) -> bytes:
    return encode_post(stage.target, "/orders", json.dumps(fields).encode())


async def retries_beyond_limits(stage: Stage) -> None:
    """Send orders beyond the instrument's limits, with the key of an order that has many fills."""
    request = _order(stage, **stage.facts["filled_order"] | {"quantity": "100000000"})
    await repeat_request(stage, stage.scaled(50), request)


async def retries_of_a_filled_order(stage: Stage) -> None:
    """Repeat one order. Its answer has thousands of fills."""
    request = _order(stage, **stage.facts["filled_order"])
    await repeat_request(stage, stage.scaled(50), request)


async def cancels_of_unknown_orders(stage: Stage) -> None:
    """Cancel ids that no order has."""

    async def member(stage: Stage, number: int) -> None:
        paths = (f"/orders/{uuid.uuid4()}/cancel" for _ in itertools.count())
        await ask_on(stage, (encode_post(stage.target, path, b"{}") for path in paths))

    await gather_crowd(stage, stage.scaled(350), member)


async def orders_at_many_prices(stage: Stage) -> None:
    """Place orders of one client, each at its own price, until its limit refuses them."""
    order = {"client_id": "hoarder", "instrument": "BTC-USD", "side": "buy", "type": "limit"}
    steps = itertools.count(1)

    async def member(stage: Stage, number: int) -> None:
        prices = (f"{step / 100:.2f}" for step in steps)
        await ask_on(stage, (_order(stage, **order, price=price, quantity="0.00000001") for price in prices))

    await gather_crowd(stage, stage.scaled(64), member)


def _sweep_request(stage: Stage) -> bytes:
    """Return a market order that could trade with every resting order of the instrument."""
    return _order(
        stage,
        client_id="sweeper",
        instrument=stage.facts["instrument"],
        side="buy",
        type="market",
        quantity="10000",
    )


async def one_sweep(stage: Stage) -> None:
    """Send one order that sweeps the book, and then nothing."""
    await ask_on(stage, [_sweep_request(stage)])
    await asyncio.sleep(stage.seconds_left)


async def sweeps(stage: Stage) -> None:
    """Send sweeping orders on several connections at once, until the book is empty."""
    request = _sweep_request(stage)
    await repeat_request(stage, stage.scaled(4), request)
