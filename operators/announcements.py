"""Announces changes of instruments to the workers, from a command or a page's thread."""

import asyncio
from collections.abc import Iterable

from django.conf import settings

from orders.desk import current_desk
from orders.gateway import current_gateway
from orders.messages import BookState
from orders.operations import announce_instruments


async def _announce_and_close(partitions: Iterable[int]) -> dict[int, str]:
    """Call `announce_instruments` and close its connections. For an event loop of its own."""
    try:
        return await announce_instruments(list(partitions))
    finally:
        await current_gateway().aclose()


def announce_now(partitions: Iterable[int]) -> dict[int, str]:
    """Announce changes, for commands. Return the reason for each unconfirmed partition."""
    return asyncio.run(_announce_and_close(partitions))


def announce(partitions: Iterable[int]) -> list[str]:
    """Announce changes. Return a sentence for each partition whose worker did not confirm."""
    return [unconfirmed_text(number, reason) for number, reason in announce_now(partitions).items()]


def inspect(partition: int) -> dict[str, BookState]:
    """Ask a partition's worker for the state of its books. For commands.

    Raises Unavailable, OutcomeUnknown.
    """

    async def inspect_and_close() -> dict[str, BookState]:
        try:
            return await current_desk().inspect_books(partition)
        finally:
            await current_gateway().aclose()

    return asyncio.run(inspect_and_close())


def unconfirmed_text(partition: int, reason: str) -> str:
    return (
        f"Saved, but the matching worker of partition {partition} did not confirm it: {reason} "
        f"A running worker applies the change within {settings.INSTRUMENT_CACHE_SECONDS:g} s anyway."
    )
