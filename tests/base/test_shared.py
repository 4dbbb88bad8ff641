"""SharedResult and FreshResult: one result for all callers at about the same time."""

import asyncio

import pytest

from base.shared import FreshResult, SharedResult


class Source:
    """Counts its calls, and answers once `may_answer` is set."""

    def __init__(self) -> None:
        self.calls = 0
        self.started = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self) -> int:
        self.calls += 1
        call = self.calls
        self.started.set()
        await self.may_answer.wait()
        if self.error is not None:
            raise self.error
        return call


async def start_calls(shared: SharedResult[int] | FreshResult[int], count: int) -> list["asyncio.Task[int]"]:
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


def fresh(source: Source) -> FreshResult[int]:
    return FreshResult(source, pause_ratio=0, pause_seconds_max=0)


def test_a_fresh_result_is_made_after_the_call() -> None:
    async def scenario() -> None:
        source = Source()
        result = fresh(source)
        early = await start_calls(result, 3)
        await source.started.wait()
        late = await start_calls(result, 400)  # These calls need a result that is made after them.
        late.pop().cancel()
        source.may_answer.set()
        assert await asyncio.gather(*early) == [1] * 3
        assert await asyncio.gather(*late) == [2] * 399
        assert [await result.get() for _ in range(50)] == list(range(3, 53))

    asyncio.run(scenario())


def test_calls_during_a_failure_fail_with_it() -> None:
    """They do not wait for the same failure a second time."""

    async def scenario() -> None:
        source = Source()
        source.error = ValueError("no result")
        result = fresh(source)
        waiting = await start_calls(result, 2)
        await source.started.wait()
        waiting += await start_calls(result, 2)
        source.may_answer.set()
        answers = await asyncio.gather(*waiting, return_exceptions=True)
        assert [str(answer) for answer in answers] == ["no result"] * 4
        assert source.calls == 1

    asyncio.run(scenario())


def test_a_fresh_result_that_fails_is_made_again_for_the_next_call() -> None:
    async def scenario() -> None:
        source = Source()
        source.may_answer.set()
        source.error = ValueError("no result")
        result = fresh(source)
        for _ in range(2):
            with pytest.raises(ValueError, match="no result"):
                await result.get()
        source.error = None
        assert await result.get() == 3

    asyncio.run(scenario())


@pytest.mark.parametrize(("pause_seconds_max", "pause_ends"), [(3600.0, False), (0.01, True)])
def test_calls_during_the_pause_wait_for_the_next_fresh_result(
    pause_seconds_max: float, pause_ends: bool
) -> None:
    async def scenario() -> None:
        source = Source()
        source.may_answer.set()
        result = FreshResult(source, pause_ratio=1e12, pause_seconds_max=pause_seconds_max)
        assert await result.get() == 1
        waiting = await start_calls(result, 400)
        if pause_ends:
            assert await asyncio.gather(*waiting) == [2] * 400
        else:
            done, _ = await asyncio.wait(waiting, timeout=0.1)
            assert (done, source.calls) == (set(), 1)

    asyncio.run(scenario())
