"""What is stored about orders with instructions, and commands that several tests send."""

from collections.abc import Callable
from typing import Any

from base.times import unix_milliseconds
from matching.batch.batch import Batch
from orders.messages import Command, PlaceCommand
from orders.models import Order, OrderEvent
from tests.matching.flows import after
from tests.matching.partition import place

LOT = 10**8  # lots of one unit
Run = Callable[..., list[Batch]]
"""The fixture `run`: runs commands, at `now`, and returns their batches."""


def gtd(seconds: float) -> dict[str, Any]:
    """Return the instructions of an order that expires so long after the start."""
    return {"time_in_force": "gtd", "expires_at_ms": unix_milliseconds(after(seconds))}


def trade_at(price_ticks: int) -> list[Command]:
    """Return two orders that trade one lot at a price."""
    return [place("sell", price_ticks, 1, client_id="bob"), place("buy", price_ticks, 1, client_id="tom")]


def outcome(order: PlaceCommand) -> tuple[str, str | None, int, int]:
    """Return status, reason, filled lots and prevented lots of a stored order."""
    row = Order.objects.get(order_id=order.order_id)
    return row.status, row.reason, int(row.filled_quantity * LOT), int(row.prevented_quantity * LOT)


def terms(order: PlaceCommand) -> tuple[int | None, int, int | None]:
    """Return price, quantity and trigger price of a stored order, in ticks and lots."""
    row = Order.objects.get(order_id=order.order_id)
    price, trigger = (None if one is None else int(one * 100) for one in (row.price, row.trigger_price))
    return price, int(row.quantity * LOT), trigger


def events(order: PlaceCommand) -> list[tuple[Any, ...]]:
    """Return kind, priority, price, quantity and trigger price of an order's events."""
    found = []
    for event in OrderEvent.objects.filter(order_id=order.order_id).order_by("sequence"):
        price, trigger = (
            None if one is None else int(one * 100) for one in (event.price, event.trigger_price)
        )
        found.append((event.kind, event.priority, price, int(event.quantity * LOT), trigger))
    return found


def priority(order: PlaceCommand) -> int | None:
    return Order.objects.get(order_id=order.order_id).priority


def replies(batches: list[Batch]) -> list[tuple[str, str]]:
    """Return the replies that need no commit."""
    return [(reply.kind.value, reply.body.decode()) for batch in batches for reply in batch.replies["tests"]]
