"""What operators do to running markets. It all goes through the matching worker, like what clients do."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from asgiref.sync import async_to_sync
from django.conf import settings
from django.core.exceptions import ValidationError
from redis.exceptions import RedisError

from orders.desk import current_desk
from orders.messages import heartbeat_key
from orders.models import PARTITION_MAX, Order
from rest.exceptions import OrderNotOpen, Refusal, Unavailable
from rest.redis import connect_redis

HEARTBEATS_READ_AT_ONCE = 4_096  # in one command, which takes Redis about a millisecond


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
                result.reason = result.reason or str(refusal.detail)
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
            untold[partition] = str(refusal.detail)
    return untold


async def matched_partitions(among: Iterable[int] = range(PARTITION_MAX + 1)) -> set[int]:
    """The partitions, all of them or those of `among`, whose matching worker has a heartbeat in Redis now.

    Raises Unavailable if Redis does not answer.
    """
    partitions = sorted(set(among))
    matched: set[int] = set()
    try:
        async with connect_redis() as redis:
            for first in range(0, len(partitions), HEARTBEATS_READ_AT_ONCE):
                some = partitions[first : first + HEARTBEATS_READ_AT_ONCE]
                owners = await redis.mget([heartbeat_key(partition) for partition in some])
                matched.update(
                    partition for partition, owner in zip(some, owners, strict=True) if owner is not None
                )
    except (RedisError, OSError) as error:
        raise Unavailable("Redis is not answering: it is not known which partitions are matched.") from error
    return matched


def validate_partition_matched(partition: int, *, confirmed: bool = False) -> None:
    """Refuse a partition for an instrument if no worker matches it, unless the operator has confirmed that.

    For synchronous code, such as the `clean` of a form. Raises ValidationError, which names the field `partition`.
    """
    if confirmed:
        return
    try:
        matched = async_to_sync(matched_partitions)([partition])
    except Unavailable as error:
        raise ValidationError({"partition": f"{error.detail} Confirm to go on all the same."}) from None
    if partition not in matched:
        raise ValidationError(
            {
                "partition": f"No worker matches partition {partition}: its instruments take no orders, and"
                f" GET /healthz says degraded, until one runs. Start manage.py run_matching --partition {partition}"
                " (serve starts it when serve is started again), or confirm to go on all the same."
            }
        )
