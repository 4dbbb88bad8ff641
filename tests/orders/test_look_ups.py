"""Look-ups that lead to refusals are bounded in number and pace, whoever asks however often."""

import asyncio
from collections.abc import Collection
from typing import Any

import pytest
from pytest_django.fixtures import Settings

from base.refusals import Unavailable
from orders.look_ups import PacedRows

FOUND: Any = object()


class Reads:
    """Runs a selector when it is let go, and remembers when, and for how many keys."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.began: list[float] = []
        self.let_go = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self, selector: Any, keys: Collection[str]) -> Any:
        self.began.append(asyncio.get_running_loop().time())
        self.sizes.append(len(keys))
        await self.let_go.wait()
        if self.error is not None:
            raise self.error
        return selector(keys)


def select(keys: Collection[str]) -> dict[str, Any]:
    return {key: FOUND for key in keys if key.startswith("known")}


def test_what_is_asked_for_meanwhile_is_read_together(settings: Settings) -> None:
    settings.LOOK_UP_ROWS_MAX = 10
    settings.LOOK_UP_PAUSE_SECONDS = 0.05

    async def scenario() -> None:
        reads: Any = Reads()
        find = PacedRows(reads, select)
        asked = [asyncio.create_task(find(f"known {number}")) for number in range(24)]
        asked.append(asyncio.create_task(find("unknown")))
        await asyncio.sleep(0)
        reads.let_go.set()
        assert await asyncio.gather(*asked) == [FOUND] * 24 + [None]
        assert reads.sizes == [10, 10, 5]
        pauses = [later - earlier for earlier, later in zip(reads.began, reads.began[1:], strict=False)]
        assert min(pauses) >= settings.LOOK_UP_PAUSE_SECONDS
        assert await find("known later") is FOUND

    asyncio.run(scenario())


def test_no_more_wait_than_there_are_places(settings: Settings) -> None:
    settings.LOOK_UPS_WAITING_MAX = 3
    settings.LOOK_UP_ROWS_MAX = 1

    async def scenario() -> None:
        reads: Any = Reads()
        find = PacedRows(reads, select)
        asked = [asyncio.create_task(find("known")) for _ in range(3)]
        while not reads.sizes:  # noqa: ASYNC110 - the reader is told nothing else
            await asyncio.sleep(0)
        asked.append(asyncio.create_task(find("known")))  # in the place of the one that is read
        await asyncio.sleep(0)
        with pytest.raises(Unavailable):
            await find("known")
        reads.let_go.set()
        assert await asyncio.gather(*asked) == [FOUND] * 4

    asyncio.run(scenario())


def test_nobody_waits_for_ever(settings: Settings) -> None:
    settings.DESK_READ_SECONDS_MAX = 0.05

    async def scenario() -> None:
        reads: Any = Reads()
        find = PacedRows(reads, select)
        with pytest.raises(Unavailable):
            await find("known")
        reads.let_go.set()
        assert await find("known") is FOUND

    asyncio.run(scenario())


def test_a_database_that_is_away_is_told_to_all_that_wait() -> None:
    async def scenario() -> None:
        reads: Any = Reads()
        reads.error = Unavailable()
        reads.let_go.set()
        find = PacedRows(reads, select)
        answers = await asyncio.gather(*(find("known") for _ in range(5)), return_exceptions=True)
        assert all(isinstance(answer, Unavailable) for answer in answers)
        reads.error = None
        assert await find("known") is FOUND

    asyncio.run(scenario())
