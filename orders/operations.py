"""Operators' actions in running markets.

They go through the matching worker, like clients' requests.
"""

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
    """The results of several cancels. After the first failure, no further cancels are started."""

    cancelled: list[Order] = field(default_factory=list)
    no_longer_open: int = 0
    failed: int = 0
    reason: str = ""  # the message of the first failure


async def cancel_orders(orders: Sequence[Order]) -> Cancellations:
    """Cancel resting or waiting orders, at most OPERATOR_CANCELS_AT_ONCE at the same time.

    The instruments of the orders must be loaded.
    """
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
    """Make the workers of these partitions load the instruments again.

    Returns the error messages of the partitions for which this failed.
    """
    failures: dict[int, str] = {}
    for partition in sorted(set(partitions)):
        try:
            await current_desk().reload_instruments(partition)
        except Refusal as refusal:
            failures[partition] = refusal.message
    return failures
