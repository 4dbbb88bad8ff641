"""How long API processes show no sign of life, by the worker's clock, on a real Redis."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from django.conf import settings
from redis import Redis

from base.redis import RedisSession, connect_redis
from matching.worker import life_watch
from matching.worker.life_watch import LifeWatch
from orders.messages import life_key

PARTITION = 0
STEP_SECONDS = settings.WORKER_HEARTBEAT_SECONDS
STEPS_TO_SILENCE = round(settings.GUARD_SILENT_SECONDS_MAX / STEP_SECONDS)


class Clock:
    """A clock that only the test moves."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(life_watch, "loop_seconds", clock)
    return clock


def watching(scenario: Callable[[LifeWatch], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        async with connect_redis() as redis:
            session = RedisSession(redis)
            try:
                await scenario(LifeWatch(session, PARTITION))
            finally:
                await session.disconnect()

    asyncio.run(run())


async def look_often(watch: LifeWatch, clock: Clock, steps: int, *process_ids: str) -> list[str]:
    """Look `steps` times, a heartbeat apart, and return what the last look found."""
    silent: list[str] = []
    for _ in range(steps):
        clock.now += STEP_SECONDS
        silent = await watch.look(process_ids)
    return silent


def show_life(redis: Redis, process_id: str, sign: int) -> None:
    redis.set(life_key(PARTITION, process_id), sign)


def test_a_process_is_silent_after_the_time_without_a_change(redis: Redis, clock: Clock) -> None:
    async def scenario(watch: LifeWatch) -> None:
        show_life(redis, "dead", 1)
        await watch.look(["dead", "alive"])
        for sign in range(STEPS_TO_SILENCE):
            show_life(redis, "alive", sign)
            assert await look_often(watch, clock, 1, "dead", "alive") == (
                ["dead"] if sign == STEPS_TO_SILENCE - 1 else []
            )

    watching(scenario)


def test_a_sign_of_life_begins_the_time_again(redis: Redis, clock: Clock) -> None:
    async def scenario(watch: LifeWatch) -> None:
        await watch.look(["process"])
        assert await look_often(watch, clock, STEPS_TO_SILENCE - 1, "process") == []
        show_life(redis, "process", 1)
        assert await look_often(watch, clock, STEPS_TO_SILENCE, "process") == []
        assert await look_often(watch, clock, 1, "process") == ["process"]

    watching(scenario)


def test_a_lost_value_is_no_sign_of_life(redis: Redis, clock: Clock) -> None:
    async def scenario(watch: LifeWatch) -> None:
        show_life(redis, "process", 1)
        await watch.look(["process"])
        await look_often(watch, clock, STEPS_TO_SILENCE - 2, "process")
        redis.delete(life_key(PARTITION, "process"))
        assert await look_often(watch, clock, 1, "process") == []
        show_life(redis, "process", 1)  # the same value, as from a copy of Redis
        assert await look_often(watch, clock, 1, "process") == ["process"]

    watching(scenario)


@pytest.mark.parametrize("gap_seconds", [60.0, 3_600.0])
def test_time_in_which_the_worker_did_not_look_hardly_counts(
    redis: Redis, clock: Clock, gap_seconds: float
) -> None:
    async def scenario(watch: LifeWatch) -> None:
        await watch.look(["process"])
        clock.now += gap_seconds
        assert await watch.look(["process"]) == []
        counted = round(settings.GUARD_LOOK_SECONDS_MAX / STEP_SECONDS)
        assert await look_often(watch, clock, STEPS_TO_SILENCE - counted - 1, "process") == []
        assert await look_often(watch, clock, 1, "process") == ["process"]

    watching(scenario)


def test_after_an_outage_the_time_begins_again(redis: Redis, clock: Clock) -> None:
    async def scenario(watch: LifeWatch) -> None:
        await watch.look(["process"])
        assert await look_often(watch, clock, STEPS_TO_SILENCE, "process") == ["process"]
        watch.reset()
        assert await look_often(watch, clock, STEPS_TO_SILENCE, "process") == []
        assert await look_often(watch, clock, 1, "process") == ["process"]

    watching(scenario)


def test_a_process_that_gets_a_guard_again_has_the_whole_time(redis: Redis, clock: Clock) -> None:
    async def scenario(watch: LifeWatch) -> None:
        await watch.look(["process"])
        assert await look_often(watch, clock, STEPS_TO_SILENCE, "process") == ["process"]
        assert await look_often(watch, clock, 1) == []  # its guards have ended
        assert await look_often(watch, clock, STEPS_TO_SILENCE, "process") == []

    watching(scenario)
