"""The pace at which an API process starts requests."""

import asyncio

from web.concurrency import StartPacer


async def _work() -> str:
    return "answered"


def test_many_requests_start_at_a_bounded_pace_and_none_is_refused() -> None:
    async def scenario() -> None:
        pacer = StartPacer(at_once=2, seconds=0.05)
        asked = [asyncio.create_task(pacer.answer(_work)) for _ in range(5)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert [each.done() for each in asked] == [True, True, False, False, False]
        assert await asyncio.gather(*asked) == ["answered"] * 5

    asyncio.run(scenario())


def test_a_single_request_does_not_wait() -> None:
    async def scenario() -> None:
        pacer = StartPacer(at_once=1, seconds=3_600.0)
        assert await asyncio.wait_for(pacer.answer(_work), 60.0) == "answered"

    asyncio.run(scenario())
