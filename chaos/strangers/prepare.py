"""Prepares attacks with ordinary orders: deep levels, large books, an order with many fills."""

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import Any

from chaos.strangers.attacks import DEEP_LEVEL, FILLED_ORDER, LARGE_BOOK
from loadtools.connection import Caller
from loadtools.wire import Target, encode_post

_CONNECTIONS = 64
_ORDERS_PER_CLIENT = 5_000  # Below the limit of a client's open orders.

_MAKERS = 30_000
_LEVELS = 40_000
_FILLS = 21_000


class NotPrepared(RuntimeError):
    """The exchange has refused an order that an attack needs."""


async def prepare(target: Target, needs: str, scale: float, show: Callable[[int], None]) -> dict[str, Any]:
    """Prepare an attack, and return the facts that it needs.

    Raises NotPrepared, ConnectionError.
    """
    if needs == DEEP_LEVEL:
        count = _scaled(_MAKERS, scale)
        await _place_all(
            target, (_maker(number, "BTC-USD", "sell", "5000000") for number in range(count)), show
        )
        return {"instrument": "BTC-USD"}
    if needs == LARGE_BOOK:
        count = _scaled(_LEVELS, scale)
        prices = (f"{(number + 1) / 1000:.3f}" for number in range(count))
        orders = (_maker(number, "SOL-USD", "buy", price) for number, price in enumerate(prices))
        await _place_all(target, orders, show)
        return {"instrument": "SOL-USD"}
    if needs == FILLED_ORDER:
        return {"filled_order": await _fill_one_order(target, _scaled(_FILLS, scale), show)}
    return {}


async def _fill_one_order(target: Target, fills: int, show: Callable[[int], None]) -> dict[str, Any]:
    """Place a resting order, fill it with small orders, and return it."""
    quantity = f"{fills + 1}"
    order = {
        "client_id": "filled",
        "idempotency_key": "many-fills",
        "instrument": "SOL-USD",
        "side": "sell",
        "type": "limit",
        "price": "90000",
        "quantity": quantity,
    }
    await _place_all(target, [order], lambda done: None)
    taker = {"client_id": "filler", "instrument": "SOL-USD", "side": "buy", "type": "market", "quantity": "1"}
    await _place_all(target, (taker for _ in range(fills)), show)
    return order


def _maker(number: int, instrument: str, side: str, price: str) -> dict[str, Any]:
    return {
        "client_id": f"maker-{number // _ORDERS_PER_CLIENT}",
        "instrument": instrument,
        "side": side,
        "type": "limit",
        "price": price,
        "quantity": "0.0001",
    }


def _scaled(count: int, scale: float) -> int:
    return max(1, round(count * scale))


async def _place_all(target: Target, orders: Iterable[dict[str, Any]], show: Callable[[int], None]) -> None:
    left: Iterator[dict[str, Any]] = iter(orders)
    done = 0

    async def place() -> None:
        nonlocal done
        with closing(Caller(target)) as caller:
            for order in left:
                response = await caller.call(encode_post(target, "/orders", json.dumps(order).encode()))
                if response.status != 201:
                    raise NotPrepared(f"{order}: {response.status} {response.body[:300]!r}")
                done += 1
                show(done)

    async with asyncio.TaskGroup() as group:
        for _ in range(_CONNECTIONS):
            group.create_task(place())
