"""Look-ups that lead to refusals are bounded in number and pace, whatever clients send."""

import asyncio
from collections.abc import Collection
from typing import Any

import pytest
from pytest_django.fixtures import Settings

from base.refusals import Unavailable
from orders.look_ups import PacedRows
from tests.patience import PATIENCE_SECONDS

FOUND: Any = object()


@pytest.fixture(autouse=True)
def _wait_long_for_rows(settings: Settings) -> None:
    settings.DESK_READ_SECONDS_MAX = PATIENCE_SECONDS


class Reads:
    """Runs selectors once `may_run` is set. Records the time and the number of keys of each call."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.began: list[float] = []
        self.may_run = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self, selector: Any, keys: Collection[str]) -> Any:
        self.began.append(asyncio.get_running_loop().time())
        self.sizes.append(len(keys))
        await self.may_run.wait()
        if self.error is not None:
            raise self.error
        return selector(keys)


def select(keys: Collection[str]) -> dict[str, Any]:
    return {key: FOUND for key in keys if key.startswith("known")}


def test_keys_asked_for_during_a_read_are_read_together(settings: Settings) -> None:
    settings.LOOK_UP_ROWS_MAX = 10
    settings.LOOK_UP_PAUSE_SECONDS = 0.05

    async def scenario() -> None:
        reads: Any = Reads()
        find = PacedRows(reads, select)
        asked = [asyncio.create_task(find(f"known {number}")) for number in range(24)]
        asked.append(asyncio.create_task(find("unknown")))
        await asyncio.sleep(0)
        reads.may_run.set()
        assert await asyncio.gather(*asked) == [FOUND] * 24 + [None]
        assert reads.sizes == [10, 10, 5]
        pauses = [later - earlier for earlier, later in zip(reads.began, reads.began[1:], strict=False)]
        assert min(pauses) >= settings.LOOK_UP_PAUSE_SECONDS
        assert await find("known later") is FOUND

    asyncio.run(scenario())


def test_a_look_up_is_refused_if_too_many_wait(settings: Settings) -> None:
    settings.LOOK_UPS_WAITING_MAX = 3
    settings.LOOK_UP_ROWS_MAX = 1

    async def scenario() -> None:
        reads: Any = Reads()
        find = PacedRows(reads, select)
        asked = [asyncio.create_task(find("known")) for _ in range(3)]
        while not reads.sizes:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0)
        asked.append(asyncio.create_task(find("known")))  # takes the place of the key that is being read
        await asyncio.sleep(0)
        with pytest.raises(Unavailable):
            await find("known")
        reads.may_run.set()
        assert await asyncio.gather(*asked) == [FOUND] * 4

    asyncio.run(scenario())


def test_a_look_up_that_takes_too_long_fails(settings: Settings) -> None:
    settings.DESK_READ_SECONDS_MAX = 0.05

    async def scenario() -> None:
        reads: Any = Reads()
        find = PacedRows(reads, select)
        with pytest.raises(Unavailable):
            await find("known")
        settings.DESK_READ_SECONDS_MAX = PATIENCE_SECONDS
        reads.may_run.set()
        assert await find("known") is FOUND

    asyncio.run(scenario())


def test_all_waiting_look_ups_fail_if_the_database_is_away() -> None:
    async def scenario() -> None:
        reads: Any = Reads()
        reads.error = Unavailable()
        reads.may_run.set()
        find = PacedRows(reads, select)
        answers = await asyncio.gather(*(find("known") for _ in range(5)), return_exceptions=True)
        assert all(isinstance(answer, Unavailable) for answer in answers)
        reads.error = None
        assert await find("known") is FOUND

    asyncio.run(scenario())
