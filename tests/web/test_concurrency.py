"""The pace at which an API process starts requests, and the places of each kind."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from pytest_django.fixtures import Settings

from base.loops import loop_seconds
from tests.patience import PATIENCE_SECONDS
from web.concurrency import ApiConcurrency, StartPacer


async def _work() -> str:
    return "answered"


def _refusal() -> str:
    return "refused"


def _stays() -> bool:
    return False


def test_many_requests_start_at_a_bounded_pace_and_none_is_refused() -> None:
    async def scenario() -> None:
        began = loop_seconds()
        quick, slow = (StartPacer(at_once=2, seconds=seconds) for seconds in (0.05, 3_600.0))
        waiting = [asyncio.create_task(slow.answer(_work, _stays, _refusal)) for _ in range(5)]
        answers = [quick.answer(_work, _stays, _refusal) for _ in range(5)]
        assert await asyncio.gather(*answers) == ["answered"] * 5
        assert loop_seconds() - began >= 0.1
        assert [each.done() for each in waiting] == [True, True, False, False, False]

    asyncio.run(scenario())


def test_clients_that_have_left_take_no_turns() -> None:
    async def scenario() -> None:
        pacer = StartPacer(at_once=2, seconds=3_600.0)
        left = [asyncio.create_task(pacer.answer(_work, lambda: True, _refusal)) for _ in range(1_000)]
        staying = asyncio.create_task(pacer.answer(_work, _stays, _refusal))
        assert await asyncio.gather(*left, staying) == [*["refused"] * 1_000, "answered"]
        assert pacer._free._value == 1  # Only the last one took a turn.

    asyncio.run(scenario())


def test_each_shared_answer_has_a_pace_of_its_own(settings: Settings) -> None:
    settings.PACED_SECONDS = 3_600.0

    async def scenario() -> None:
        concurrency = ApiConcurrency()

        async def ask(path: str) -> str:
            return await concurrency.answer("GET", path, _work, _refusal, _stays)

        flood = [asyncio.create_task(ask("/tickers")) for _ in range(1_000)]
        await asyncio.sleep(0)
        for path in ("/healthz", "/metrics/", "/livez"):
            assert await ask(path) == "answered"
        assert sum(each.done() for each in flood) == settings.SHARED_ANSWERS_AT_ONCE

    asyncio.run(scenario())


def test_posts_take_no_turns_of_shared_answers(settings: Settings) -> None:
    settings.PACED_SECONDS = 3_600.0

    async def scenario() -> None:
        concurrency = ApiConcurrency()
        for path in ("/healthz", "/metrics", "/tickers/", "/docs/schema", "/docs/stream"):
            for _ in range(2 * settings.SHARED_ANSWERS_AT_ONCE):
                answer = concurrency.answer("POST", path, _work, _refusal, _stays)
                assert await asyncio.wait_for(answer, PATIENCE_SECONDS) == "answered"
            answer = concurrency.answer("GET", path, _work, _refusal, _stays)
            assert await asyncio.wait_for(answer, PATIENCE_SECONDS) == "answered"

    asyncio.run(scenario())


def test_a_single_request_does_not_wait() -> None:
    async def scenario() -> None:
        pacer = StartPacer(at_once=1, seconds=3_600.0)
        assert await asyncio.wait_for(pacer.answer(_work, _stays, _refusal), PATIENCE_SECONDS) == "answered"

    asyncio.run(scenario())


COMMANDS = ("/orders", "/orders/", "/orders/batch", "/orders/amend", "/orders/test", "/orders/1/amend/")
CANCELS = (
    "/orders/1/cancel",
    "/orders/1/cancel/",
    "/orders/cancel",
    "/orders/cancel/",
    "/orders/cancel-after",
)


@pytest.mark.parametrize(
    ("full", "free"), [(COMMANDS, CANCELS), (CANCELS, COMMANDS)], ids=["commands", "cancels"]
)
def test_orders_and_cancels_do_not_take_each_others_places(
    settings: Settings, full: tuple[str, ...], free: tuple[str, ...]
) -> None:
    settings.COMMANDS_AT_ONCE_MAX = settings.CANCELS_AT_ONCE_MAX = len(full)

    async def scenario() -> None:
        concurrency, release = ApiConcurrency(), asyncio.Event()

        async def wait() -> str:
            await release.wait()
            return "answered"

        async def post(path: str, work: Callable[[], Awaitable[str]]) -> str:
            return await concurrency.answer("POST", path, work, _refusal, _stays)

        waiting = [asyncio.create_task(post(path, wait)) for path in full]
        await asyncio.sleep(0)
        for path in full:
            assert await post(path, _work) == "refused"
        for path in free:
            assert await post(path, _work) == "answered"
        release.set()
        assert await asyncio.gather(*waiting) == ["answered"] * len(full)

    asyncio.run(scenario())
