"""Tells the workers of a change, from a command or a page's thread."""

import asyncio
from collections.abc import Iterable

from django.conf import settings

from orders.gateway import current_gateway
from orders.operations import announce_instruments


async def announce_and_close(partitions: Iterable[int]) -> dict[int, str]:
    """The same as `announce_instruments`, on connections that end with it: for an event loop of its own."""
    try:
        return await announce_instruments(list(partitions))
    finally:
        await current_gateway().aclose()


def announce(partitions: Iterable[int]) -> list[str]:
    """Tell the workers; returns one sentence for each that could not be told. For commands."""
    return [
        untold_text(number, reason) for number, reason in asyncio.run(announce_and_close(partitions)).items()
    ]


def untold_text(partition: int, reason: str) -> str:
    return (
        f"Saved, but the matching worker of partition {partition} could not be told: {reason} "
        f"A running worker takes the change over within {settings.INSTRUMENT_CACHE_SECONDS:g} s anyway."
    )
