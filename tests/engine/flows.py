"""Reproducible streams of commands: the same seed and shape always give the same flow."""

from collections.abc import Iterator
from random import Random
from typing import NamedTuple

from matching.engine import CancelOrder, OrderKind, PlaceOrder, Side

MIDDLE_TICKS = 1_000


class Shape(NamedTuple):
    """The composition of a flow. Shares are parts of 1; the other commands are limit orders.

    A limit order's price lies up to `away_ticks` behind the middle of the market, or up to
    `over_ticks` beyond it.
    """

    name: str
    away_ticks: int
    over_ticks: int
    market_share: float
    cancel_share: float
    quantity_lots_max: int


SHAPES = (
    Shape("few prices, long queues", 3, 1, 0.15, 0.20, 50),
    Shape("many prices, short queues", 600, 30, 0.12, 0.40, 50),
    Shape("mostly cancels", 300, 5, 0.01, 0.49, 20),
    Shape("sweeps through many levels", 40, 40, 0.03, 0.20, 9),
    Shape("markets empty the book", 20, 2, 0.45, 0.10, 50),
)


def flow(shape: Shape, *, seed: int, commands: int) -> Iterator[PlaceOrder | CancelOrder]:
    """Generate commands, with some duplicate ids, cancels by other clients, and huge orders."""
    random = Random(f"{shape.name} {seed}")
    recent: list[tuple[str, str]] = []
    for number in range(commands):
        client_id = f"client-{random.randrange(20)}"
        dice = random.random()
        if recent and dice < shape.cancel_share:
            order_id, owner = recent.pop(random.randrange(len(recent)))
            stranger = random.random() < 0.05
            yield CancelOrder(order_id, client_id if stranger else owner)
            continue
        order_id = f"order-{number}"
        if recent and random.random() < 0.01:
            order_id = random.choice(recent)[0]
        side = random.choice((Side.BUY, Side.SELL))
        quantity_lots = random.randint(1, shape.quantity_lots_max)
        if random.random() < 0.01:
            quantity_lots *= 50
        if dice > 1 - shape.market_share:
            yield PlaceOrder(order_id, client_id, side, OrderKind.MARKET, 0, quantity_lots)
            continue
        beyond_ticks = random.randint(-shape.away_ticks, shape.over_ticks)
        price_ticks = MIDDLE_TICKS + (beyond_ticks if side is Side.BUY else -beyond_ticks)
        recent.append((order_id, client_id))
        if len(recent) > 200:
            recent.pop(0)
        yield PlaceOrder(order_id, client_id, side, OrderKind.LIMIT, price_ticks, quantity_lots)
