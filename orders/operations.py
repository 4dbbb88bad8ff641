"""What operators do to running markets. It all goes through the matching worker, like what clients do."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from django.conf import settings

from base.refusals import Refusal
from orders.desk import current_desk
from orders.models import Order
from orders.refusals import OrderNotOpen


@dataclass
class Cancellations:
    """What became of the orders that were to be cancelled. After one failed, no further ones are begun."""

    cancelled: list[Order] = field(default_factory=list)
    no_longer_open: int = 0
    failed: int = 0
    reason: str = ""  # of the first failure


async def cancel_orders(orders: Sequence[Order]) -> Cancellations:
    """Take resting orders off their books, OPERATOR_CANCELS_AT_ONCE at a time; instruments must be loaded."""
    result = Cancellations()
    gate = asyncio.Semaphore(settings.OPERATOR_CANCELS_AT_ONCE)

    async def cancel(order: Order) -> None:
        async with gate:
            if result.reason:
                result.failed += 1
                return
            try:
                await current_desk().cancel(order, by_operator=True)
            except OrderNotOpen:
                result.no_longer_open += 1
            except Refusal as refusal:
                result.failed += 1
                result.reason = result.reason or refusal.message
            else:
                result.cancelled.append(order)

    await asyncio.gather(*map(cancel, orders))
    return result


async def announce_instruments(partitions: Sequence[int]) -> dict[int, str]:
    """Tell the workers of these partitions that instruments were changed; returns why where one was not told."""
    untold: dict[int, str] = {}
    for partition in sorted(set(partitions)):
        try:
            await current_desk().reload_instruments(partition)
        except Refusal as refusal:
            untold[partition] = refusal.message
    return untold
