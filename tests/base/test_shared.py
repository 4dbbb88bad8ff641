"""SharedResult: one result for all callers at about the same time."""

import asyncio

import pytest

from base.shared import SharedResult


class Source:
    """Counts its calls, and answers once `may_answer` is set."""

    def __init__(self) -> None:
        self.calls = 0
        self.may_answer = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self) -> int:
        self.calls += 1
        call = self.calls
        await self.may_answer.wait()
        if self.error is not None:
            raise self.error
        return call


async def start_calls(shared: SharedResult[int], count: int) -> list["asyncio.Task[int]"]:
    tasks = [asyncio.create_task(shared.get()) for _ in range(count)]
    await asyncio.sleep(0)
    return tasks


def test_callers_at_the_same_time_share_one_result() -> None:
    async def scenario() -> None:
        source = Source()
        shared = SharedResult(source, seconds=3600)
        first, *others = await start_calls(shared, 400)
        first.cancel()  # its client has left; the others still get their answers
        source.may_answer.set()
        assert await asyncio.gather(*others) == [1] * 399
        assert await shared.get() == 1
        assert source.calls == 1

    asyncio.run(scenario())


def test_a_result_that_is_too_old_is_computed_again() -> None:
    async def scenario() -> None:
        source = Source()
        source.may_answer.set()
        shared = SharedResult(source, seconds=0)
        assert [await shared.get() for _ in range(3)] == [1, 2, 3]

    asyncio.run(scenario())


def test_only_waiting_callers_get_an_error() -> None:
    async def scenario() -> None:
        source = Source()
        source.error = ValueError("no result")
        shared = SharedResult(source, seconds=3600)
        waiting = await start_calls(shared, 3)
        source.may_answer.set()
        assert all(
            isinstance(answer, ValueError)
            for answer in await asyncio.gather(*waiting, return_exceptions=True)
        )
        source.error = None
        assert await shared.get() == 2
        with pytest.raises(ValueError, match="no result"):
            waiting[0].result()

    asyncio.run(scenario())


def test_the_first_calls_of_a_period_get_a_new_result() -> None:
    async def scenario() -> None:
        source = Source()
        source.may_answer.set()
        shared = SharedResult(source, seconds=3600, fresh_max=3)
        assert [await shared.get() for _ in range(6)] == [1, 2, 3, 3, 3, 3]
        shared._window_ends_at = 0.0
        assert [await shared.get() for _ in range(5)] == [4, 5, 6, 6, 6]

    asyncio.run(scenario())


def test_many_simultaneous_calls_share_a_result_that_single_calls_would_not() -> None:
    async def scenario() -> None:
        source = Source()
        source.may_answer.set()
        shared = SharedResult(source, seconds=3600, fresh_max=25)
        for _ in range(5):
            await asyncio.gather(*await start_calls(shared, 400))
        assert source.calls == 1

    asyncio.run(scenario())
